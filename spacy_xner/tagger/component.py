"""The pipeline component of every NER model: `EntityTagger`."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy
import torch
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import minibatch
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate, torch2xp
from thinc.types import Floats2d

from spacy_xner.attributes import is_blank, is_labelled, register_attributes
from spacy_xner.errors import Errors, XnerError
from spacy_xner.pipe import LabelledPipe, check_width
from spacy_xner.tagger.decoding import Prediction, decode
from spacy_xner.tagger.gold import Gold, align_gold, report_unlearnable
from spacy_xner.tagger.model import Tagger, head_network, to_flat_torch
from spacy_xner.tagger.resume import find_teacher, take_weights
from spacy_xner.tagger.segments import is_routed_to, merge_part, parts_of
from spacy_xner.tags import MISSING, Scheme, TagSet, TokenSpan

DEFAULT_CONFIG = Config().from_str(
    """
[tagger]
scheme = "IOB2"
clusters = ["*"]
spans_key = "xner"
confidence = true
objectives = {}
scorer = {"@scorers":"spacy_xner.entity_scorer.v1"}

[tagger.model]
@architectures = "spacy_xner.EntityTagger.v1"

[tagger.model.tok2vec]
@architectures = "spacy_xner.TransformerEncoder.v1"
name = "multilingual-e5-small"

[tagger.model.head]
@architectures = "spacy_xner.SoftmaxHead.v1"
class_weights = {}

[tagger.model.head.loss]
@misc = "spacy_xner.cross_entropy.v1"
"""
)["tagger"]
ASSIGNS = ["doc.ents", "token.ent_iob", "token.ent_type", "doc.spans"]
SCORE_WEIGHTS = {
    "ents_f": 1.0,
    "ents_p": 0.0,
    "ents_r": 0.0,
    "ents_f_macro": 0.0,
    "ents_per_type": None,
    "ents_per_language": None,
    "ents_per_language_type": None,
    "ents_per_length": None,
}


@Language.factory(
    "transformer_ner",
    assigns=ASSIGNS,
    default_config=DEFAULT_CONFIG,
    default_score_weights=SCORE_WEIGHTS,
)
def make_entity_tagger(
    nlp: Language,
    name: str,
    model: Model,
    scheme: Scheme,
    clusters: list[str],
    spans_key: str,
    confidence: bool,
    objectives: dict[str, Any],
    scorer: Callable | None,
) -> "EntityTagger":
    """Build the entity tagger; see `EntityTagger` for the settings."""
    return EntityTagger(
        nlp.vocab,
        model,
        name,
        scheme=scheme,
        clusters=clusters,
        spans_key=spans_key,
        confidence=confidence,
        objectives=objectives,
        scorer=scorer,
    )


class Objective(Protocol):
    """A loss on unlabelled documents that is trained together with the tagger."""

    def start(self, tagger: "EntityTagger", languages: Iterable[str | None], name: str) -> None:
        """Get ready for a tagger and the languages of its unlabelled documents, None where one is unknown."""

    def update(self, docs: list[Doc], tagger: "EntityTagger") -> float:
        """Add gradients to the model's. RETURNS: The weighted loss in nats."""

    def finish_update(self, optimizer: Optimizer) -> None:
        """Step what belongs to the objective alone."""


class EntityTagger(LabelledPipe):
    """Tag named entities with any encoder and head.

    model: `spacy_xner.EntityTagger.v1`.
    scheme: Tag scheme of the output layer: IOB1, IOB2 or BIOES.
    clusters: Clusters (`doc._.cluster`) whose documents this tagger annotates; "*" is every document.
        Documents that nobody has routed are annotated by every tagger. Of a document that is routed
        by sentences (`doc.spans["clusters"]`) a tagger takes its own sentences. Entities that are there
        already are replaced: put an `entity_ruler` behind.
    spans_key: Where `doc.spans` gets the entities and, in `attrs["scores"]`, their probabilities;
        empty for nowhere.
    confidence: Compute the probabilities.
    objectives: Auxiliary losses on unlabelled documents by name; see `transformer.auxiliary`.
    scorer: Scores examples; see `scoring.score_entities`.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Tagger,
        name: str = "transformer_ner",
        *,
        scheme: Scheme,
        clusters: list[str],
        spans_key: str,
        confidence: bool,
        objectives: Mapping[str, Objective] = MappingProxyType({}),
        scorer: Callable | None,
    ) -> None:
        register_attributes()
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.clusters = self._check_clusters(name, clusters)
        self.spans_key = spans_key
        self.confidence = confidence
        self.objectives = dict(objectives)
        self._warned: set[str] = set()
        self._has_begun = False
        self.cfg: dict[str, Any] = {"labels": [], "scheme": scheme}

    @property
    def tag_set(self) -> TagSet:
        """The tags of the output layer."""
        return TagSet(self.labels, self.cfg["scheme"])

    @property
    def is_built(self) -> bool:
        """True once the output layer exists."""
        return bool(self.model.get_ref("head").has_dim("nO"))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        """Collect the labels and build the network.

        weights: A pipeline whose tagger this one goes on from, with other settings where its config has
            others: another loss, more frozen layers. The labels are that tagger's.
        RAISES: XNER304 if there are no labels, XNER310 if the weights are of another network.
        """
        validate_get_examples(get_examples, "EntityTagger.initialize")
        teacher = None
        if weights is not None:
            teacher = find_teacher(weights, EntityTagger, self.name, self.cfg["scheme"])
        labels = teacher.labels if teacher is not None else labels
        sample: list[Doc] = []
        languages: set[str | None] = set()
        for label in labels or ():
            self.add_label(label)
        for example in get_examples():
            if len(sample) < 10 and len(example.predicted):
                sample.append(example.predicted)
            if not is_labelled(example.reference):
                languages.add(example.reference._.language)
            if labels is not None and len(sample) == 10 and not self.objectives:
                break
            if labels is None:
                for ent in example.reference.ents:
                    self.add_label(ent.label_)
        if not self.labels:
            raise XnerError(Errors.XNER304.format(name=self.name))
        head = self.model.get_ref("head")
        head.shims[0].cfg = {"labels": list(self.labels), "scheme": self.cfg["scheme"]}
        self.model.initialize(X=sample or [Doc(self.vocab, words=["x"])])
        if teacher is not None and weights is not None:
            take_weights(self.model, teacher.model, self.name, weights)
        for name, objective in self.objectives.items():
            objective.start(self, languages, name)
        self._has_begun = True

    def predict(self, docs: Iterable[Doc]) -> list[Prediction]:
        """Find the entities of a batch of documents.

        RAISES: XNER301 before initialization.
        """
        docs = list(docs)
        if not self.is_built:
            raise XnerError(Errors.XNER301.format(name=self.name))
        if not any(len(doc) for doc in docs):
            return [Prediction([], [] if self.confidence else None) for _ in docs]
        emissions = self.model.predict(docs)
        return decode(docs, emissions, head_network(self.model), confidence=self.confidence)

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Prediction]) -> None:
        """Write entities and scores on the documents of this tagger's clusters."""
        for doc, prediction in zip(docs, predictions, strict=True):
            if not is_routed_to(doc, self.clusters):
                continue
            ents = [Span(doc, s.start, s.end, label=s.label) for s in prediction.spans]
            doc.set_ents(ents)
            if self.spans_key:
                doc.spans[self.spans_key] = ents
                if prediction.probabilities is not None:
                    doc.spans[self.spans_key].attrs["scores"] = prediction.probabilities

    def __call__(self, doc: Doc) -> Doc:
        for segment, part in parts_of(doc, self.clusters):
            # None if the error handler let an error pass.
            if super().__call__(part) is not None:
                merge_part(doc, segment, part, self.spans_key, self.confidence)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream; documents of other clusters pass untouched, order is kept."""
        for batch in minibatch(stream, batch_size):
            parts = [(doc, segment, part) for doc in batch for segment, part in parts_of(doc, self.clusters)]
            done = {id(part) for part in super().pipe([p for *_, p in parts], batch_size=batch_size)}
            # As in spaCy a document is dropped if the error handler lets its error pass.
            failed = {id(doc) for doc, _, part in parts if id(part) not in done}
            for doc, segment, part in parts:
                if id(part) in done:
                    merge_part(doc, segment, part, self.spans_key, self.confidence)
            yield from (doc for doc in batch if id(doc) not in failed)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch. Unlabelled documents add nothing to this loss, but to the objectives'.

        RAISES: XNER303 if a loss is not a number, before any weight is changed; XNER315 for objectives of a
            tagger that was not initialized.
        """
        losses = {} if losses is None else losses
        examples = list(examples)
        validate_examples(examples, "EntityTagger.update")
        set_dropout_rate(self.model, drop)
        losses[self.name] = losses.get(self.name, 0.0) + self._update_labelled(examples)
        if self.objectives:
            if not self._has_begun:
                names = ", ".join(self.objectives)
                raise XnerError(Errors.XNER315.format(name=self.name, objectives=names))
            self._update_unlabelled(examples, losses)
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def _update_labelled(self, examples: list[Example]) -> float:
        """Add the gradients of the annotated examples. RETURNS: The loss."""
        if not self.listens:
            examples = [eg for eg in examples if is_labelled(eg.reference)]
        if not any(len(example.predicted) for example in examples):
            return 0.0
        golds = self._align(examples)
        if not any((gold.ids != MISSING).any() for gold in golds) and not self.listens:
            # No gradient at all, rather than a zero one: zero ones let momentum and decay go on.
            return 0.0
        return self._learn([eg.predicted for eg in examples], [gold.ids for gold in golds])

    def _learn(self, docs: list[Doc], tags: list[NDArray[numpy.int64]], weight: float = 1.0) -> float:
        emissions, backprop = self.model.begin_update(docs)
        loss, d_emissions = self._compute_loss(tags, emissions, weight)
        self.check_loss(loss, docs)
        backprop(d_emissions)
        return loss

    def _update_unlabelled(self, examples: list[Example], losses: dict[str, float]) -> None:
        """Add the gradients and losses of the objectives on the documents without annotation."""
        plain = [eg.predicted for eg in examples if not is_labelled(eg.reference)]
        texts = [doc for doc in plain if not is_blank(doc)]
        for name, objective in self.objectives.items():
            key = f"{self.name}_{name}"
            loss = objective.update(texts, self) if texts else 0.0
            losses[key] = losses.get(key, 0.0) + self.check_loss(loss, texts)

    def find_entities(self, docs: list[Doc]) -> list[list[TokenSpan]]:
        """The entities that the tagger finds now, for objectives."""
        return [prediction.spans for prediction in self.predict(docs)]

    def learn(self, docs: list[Doc], entities: list[list[TokenSpan]], *, weight: float = 1.0) -> float:
        """Add the gradients of documents with these entities, for objectives. RETURNS: The weighted loss."""
        tags = [self.tag_set.encode(spans, len(doc)) for doc, spans in zip(docs, entities, strict=True)]
        return self._learn(docs, tags, weight)

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the model and the objectives' own weights."""
        super().finish_update(sgd)
        for objective in self.objectives.values():
            objective.finish_update(sgd)

    @property
    def listens(self) -> bool:
        """True if the encoder is a listener, which must answer every batch of its upstream pipe."""
        return any(hasattr(node, "upstream_name") for node in self.model.walk())

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples; the scorer finds the probabilities where this tagger puts them."""
        return super().score(examples, **{"spans_key": self.spans_key, **kwargs})

    def get_loss(self, examples: Iterable[Example], scores: list[Floats2d]) -> tuple[float, list[Floats2d]]:
        """Compute the head's loss and its gradient by the tag scores.

        The parameters of a CRF get theirs on the way.
        RETURNS: Mean loss over annotated tokens in nats; arrays of shape (n_tokens, n_tags).
        """
        return self._compute_loss([gold.ids for gold in self._align(list(examples))], scores)

    def _align(self, examples: list[Example]) -> list[Gold]:
        golds = [align_gold(example, self.tag_set) for example in examples]
        report_unlearnable(golds, self._warned)
        return golds

    def _compute_loss(
        self, tags: list[NDArray[numpy.int64]], scores: list[Floats2d], weight: float = 1.0
    ) -> tuple[float, list[Floats2d]]:
        sizes = [len(s) for s in scores]
        with torch.enable_grad():
            flat = to_flat_torch(scores, requires_grad=True)
            gold = torch.cat([torch.from_numpy(ids) for ids in tags]).to(flat.device)
            lengths = torch.tensor(sizes, device=flat.device)
            loss = weight * head_network(self.model).loss(flat, gold, lengths)
            value = float(loss.detach())
            if math.isfinite(value):
                loss.backward()
        gradient = torch.zeros_like(flat) if flat.grad is None else flat.grad
        return value, self.model.ops.unflatten(torch2xp(gradient), sizes)

    SETTINGS = ("clusters", "spans_key", "confidence")

    @staticmethod
    def _check_clusters(name: str, clusters: list[str]) -> list[str]:
        """A copy of the clusters. RAISES: XNER344 for none."""
        if not clusters or not all(isinstance(cluster, str) and cluster for cluster in clusters):
            raise XnerError(Errors.XNER344.format(name=name, clusters=clusters))
        return list(clusters)

    def check_loaded(self) -> None:
        """Compare the labels and the encoder with what the head was trained for.

        RAISES: XNER333, XNER338.
        """
        super().check_loaded()
        head = self.model.get_ref("head").shims[0].cfg
        if (self.cfg["labels"], self.cfg["scheme"]) != (head["labels"], head["scheme"]):
            raise XnerError(
                Errors.XNER333.format(
                    name=self.name, labels=self.cfg["labels"], scheme=self.cfg["scheme"],
                    head_labels=head["labels"], head_scheme=head["scheme"],
                )
            )  # fmt: skip
        check_width(self.model.get_ref("tok2vec"), self.model.get_ref("head"))
