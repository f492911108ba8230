"""The pipeline component that says what language a text is in: `LanguageIdentifier`."""

from collections.abc import Callable, Iterable
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_get_examples
from spacy.vocab import Vocab

from spacy_xner.attributes import cut_out, is_blank, register_attributes
from spacy_xner.errors import Errors, XnerError
from spacy_xner.pipe import LabelledPipe
from spacy_xner.router.model import LanguageClassifier
from spacy_xner.router.segments import Floats, Identification, choose_segments, write_languages
from spacy_xner.stored import check_width
from spacy_xner.types import Level


class LanguageIdentifier(LabelledPipe):
    """Identify the language of every document, and of every sentence if asked for.

    Its labels are the languages.

    Sets `doc._.language`, `doc._.language_scores` (a probability by language) and
    `doc.spans["languages"]`: segments labelled with their languages, with `attrs["scores"]`,
    `attrs["probabilities"]` and `attrs["vectors"]`. A language that is set already, as `doc._.language` or
    `{"language": ...}` in the context of `nlp.pipe(..., as_tuples=True)`, is kept; if the identifier knows
    it, the document is not even looked at. "DE" is read as "de" and "en-US" as "en".

    model: `spacy_xner.LanguageClassifier.v1`.
    level: "doc", or "sentence" for texts that change their language.
    min_probability: Below it a language is a guess: `doc._.language` stays empty. Its scores are kept, and
        the segments have the label of the likeliest language, so that a router decides as it would without.
    scorer: Scores examples; see `scoring.score_languages`.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: LanguageClassifier,
        name: str = "language_identifier",
        *,
        level: Level,
        min_probability: float,
        scorer: Callable | None,
    ) -> None:
        register_attributes()
        self.vocab = vocab
        self.model = model
        self.name = name
        self.level = level
        self.min_probability = min_probability
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"labels": []}

    @property
    def is_built(self) -> bool:
        """True once the output layer exists."""
        return bool(self.model.get_ref("output").has_dim("nO"))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        """Collect the languages and build the network.

        RAISES: XNER401 for less than two languages.
        """
        validate_get_examples(get_examples, "LanguageIdentifier.initialize")
        for label in labels or ():
            self.add_label(label)
        if labels is None:
            for example in get_examples():
                if example.reference._.language:
                    self.add_label(example.reference._.language)
        if len(self.labels) < 2:
            languages = ", ".join(self.labels) or "none"
            raise XnerError(Errors.XNER401.format(name=self.name, languages=languages))
        self.model.get_ref("output").set_dim("nO", len(self.labels))
        sent2vec = self.model.get_ref("sent2vec")
        sent2vec.initialize()
        self.model.get_ref("output").set_dim("nI", sent2vec.get_dim("nO"))
        self.model.initialize()

    def embed(self, docs: list[Doc]) -> Floats:
        """Compute the vectors that languages are told apart and clustered by.

        RETURNS: Shape: (n_docs, width); zeros for documents without text.
        RAISES: XNER301 before initialization.
        """
        if not self.is_built:
            raise XnerError(Errors.XNER301.format(name=self.name))
        sent2vec = self.model.get_ref("sent2vec")
        return self.model.ops.to_numpy(sent2vec.predict(docs))

    def predict(self, docs: Iterable[Doc]) -> list[Identification | None]:
        """Identify the languages of a batch; None for what needs no identification.

        RAISES: XNER301 before initialization, XNER350 for a preset language that is no code, XNER408 for
            sentences without boundaries.
        """
        docs = list(docs)
        segments = [choose_segments(doc, self.labels, self.level, self.name) for doc in docs]
        parts = [cut_out(segment) for group in segments for segment in group]
        if not parts:
            return [None for _ in docs]
        vectors = self.embed(parts)
        output = self.model.get_ref("output")
        probabilities = self.model.ops.to_numpy(output.predict(self.model.ops.asarray2f(vectors)))
        results: list[Identification | None] = []
        start = 0
        for group in segments:
            rows = slice(start, start + len(group))
            results.append(Identification(group, probabilities[rows], vectors[rows]) if group else None)
            start += len(group)
        return results

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Identification | None]) -> None:
        """Write languages, scores and vectors on the documents."""
        for doc, result in zip(docs, predictions, strict=True):
            if result is not None:
                write_languages(doc, result, self.labels, self.min_probability)

    def add_gradients(self, examples: list[Example], losses: dict[str, float]) -> bool:
        """Learn languages; blank documents and those without a known language are left out."""
        useful = [
            eg for eg in examples if eg.reference._.language in self.labels and not is_blank(eg.predicted)
        ]
        if not useful:
            return False
        probabilities, backprop = self.model.begin_update([eg.predicted for eg in useful])
        loss, d_scores = self.get_loss(useful, probabilities)
        self.check_loss(loss, [eg.reference for eg in useful])
        backprop(d_scores)
        losses[self.name] += loss
        return True

    def get_loss(self, examples: list[Example], scores: Any) -> tuple[float, Any]:
        """Compute the cross entropy and its gradient by the scores before the softmax.

        scores: Probabilities. Shape: (n_docs, n_languages).
        RETURNS: Mean loss in nats; an array of the same shape.
        """
        index = {label: i for i, label in enumerate(self.labels)}
        xp = self.model.ops.xp
        gold = xp.asarray([index[eg.reference._.language] for eg in examples])
        rows = xp.arange(len(examples))
        loss = float(-xp.log(xp.maximum(scores[rows, gold], 1e-12)).mean())
        gradient = scores.copy()
        gradient[rows, gold] -= 1.0
        return loss, gradient / len(examples)

    SETTINGS = ("level", "min_probability")

    @property
    def width(self) -> int | None:
        """Numbers in the vector of a text; None before initialization."""
        return self.model.get_ref("sent2vec").maybe_get_dim("nO")

    def check_loaded(self) -> None:
        """Compare the languages with the output layer. RAISES: XNER334, XNER338."""
        super().check_loaded()
        output = self.model.get_ref("output")
        n_outputs = output.get_dim("nO")
        if n_outputs != len(self.labels):
            labels = ", ".join(self.labels)
            raise XnerError(
                Errors.XNER334.format(
                    name=self.name, n_labels=len(self.labels), labels=labels, n_outputs=n_outputs
                )
            )
        check_width(self.model.get_ref("sent2vec"), output)
