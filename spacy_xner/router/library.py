"""A library in the place of the identifier: `LibraryIdentifier`, and detectors for two libraries."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch

from spacy_xner.attributes import cut_out, register_attributes
from spacy_xner.errors import Errors, XnerError
from spacy_xner.router.segments import Identification, choose_segments, write_languages
from spacy_xner.types import Level

# From texts to a score of every language that is known, greater ones likelier; they need not sum to 1.
Detector: TypeAlias = Callable[[list[str]], list[Mapping[str, float]]]


class LibraryIdentifier(Pipe):
    """Identify languages with a library that is trained already.

    It writes what a `language_identifier` writes, so that a `cluster_router` behind it routes. The vector of
    a segment has the probability of every language, in the order of `labels`: an unseen language goes to the
    cluster of the language whose texts the library takes for the same languages.

    detector: Makes a function of the languages that are told apart, which scores texts.
    languages: Languages that are told apart, two or more.
    level, min_probability: As in `LanguageIdentifier`.
    scorer: Scores examples; see `scoring.score_languages`.
    RAISES: XNER175 for fewer than two languages, XNER176 if the library is not installed, XNER177 for a
        language that it does not know.
    """

    def __init__(
        self,
        name: str,
        detector: Callable[[list[str]], Detector],
        languages: list[str],
        *,
        level: Level,
        min_probability: float,
        scorer: Callable | None,
    ) -> None:
        register_attributes()
        if len(set(languages)) < 2:
            raise XnerError(Errors.XNER175.format(name=name, languages=", ".join(languages) or "none"))
        self.name = name
        self._languages = tuple(sorted(set(languages)))
        self.level = level
        self.min_probability = min_probability
        self.scorer = scorer
        self.detect = detector(list(self._languages))

    @property
    def labels(self) -> tuple[str, ...]:
        """Languages that are told apart."""
        return self._languages

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one document. RAISES: As `predict`."""
        self.set_annotations([doc], self.predict([doc]))
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream of documents. One that fails is given to the error handler, if there is one."""
        handle_error = self.get_error_handler()
        for docs in minibatch(stream, batch_size):
            for doc in docs:
                try:
                    yield self(doc)
                except XnerError as error:
                    handle_error(self.name, self, [doc], error)

    def predict(self, docs: Iterable[Doc]) -> list[Identification | None]:
        """Identify the languages of a batch; None for what needs no identification.

        RAISES: XNER350 for a preset language that is no code, XNER408 for sentences without boundaries.
        """
        groups = [choose_segments(doc, self.labels, self.level, self.name) for doc in docs]
        texts = [cut_out(segment).text for group in groups for segment in group]
        rows = iter([self._normalise(scores) for scores in self.detect(texts)] if texts else [])
        results: list[Identification | None] = []
        for group in groups:
            probabilities = numpy.array([next(rows) for _ in group], dtype="float32")
            results.append(Identification(group, probabilities, probabilities.copy()) if group else None)
        return results

    def _normalise(self, scores: Mapping[str, float]) -> list[float]:
        """Probabilities of the labels; all alike for a text in which the library finds no language."""
        values = [max(0.0, float(scores.get(label, 0.0))) for label in self.labels]
        total = sum(values)
        return [value / total if total else 1 / len(values) for value in values]

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Identification | None]) -> None:
        """Write languages, scores and vectors on the documents."""
        for doc, result in zip(docs, predictions, strict=True):
            if result is not None:
                write_languages(doc, result, self.labels, self.min_probability)

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Nothing is learnt."""


def create_py3langid_detector() -> Callable[[list[str]], Detector]:
    """Create a detector on py3langid, which is small and needs no more than numpy.

    SOURCE: Lui and Baldwin 2012, "langid.py: An Off-the-shelf Language Identification Tool".
    """

    def make(languages: list[str]) -> Detector:
        langid = _import("py3langid.langid", "py3langid")
        path = Path(str(langid.MODEL_DIR)) / langid.MODEL_FILE
        identifier = langid.LanguageIdentifier.from_modelpath(str(path), norm_probs=True)
        _check(languages, [str(label) for label in identifier.labels], "py3langid")
        identifier.set_languages(languages)
        return lambda texts: [dict(identifier.rank(text)) for text in texts]

    return make


def create_lingua_detector() -> Callable[[list[str]], Detector]:
    """Create a detector on lingua-language-detector, which is made for short texts."""

    def make(languages: list[str]) -> Detector:
        lingua = _import("lingua", "lingua-language-detector")
        codes = {language.iso_code_639_1.name.lower(): language for language in lingua.Language.all()}
        _check(languages, list(codes), "lingua-language-detector")
        chosen = [codes[language] for language in languages]
        detector = lingua.LanguageDetectorBuilder.from_languages(*chosen).build()

        def detect(texts: list[str]) -> list[Mapping[str, float]]:
            confidences = detector.compute_language_confidence_values_in_parallel(texts)
            return [
                {score.language.iso_code_639_1.name.lower(): score.value for score in scores}
                for scores in confidences
            ]

        return detect

    return make


def _import(module: str, library: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise XnerError(Errors.XNER176.format(library=library)) from error


def _check(languages: list[str], known: list[str], library: str) -> None:
    if unknown := sorted(set(languages) - set(known)):
        shown = ", ".join(sorted(known))
        raise XnerError(Errors.XNER177.format(library=library, unknown=", ".join(unknown), known=shown))
