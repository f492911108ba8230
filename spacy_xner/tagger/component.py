"""The pipeline component of every NER model: `EntityTagger`."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy
import torch
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import load_model, minibatch
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate, torch2xp
from thinc.types import Floats2d

from spacy_xner.attributes import (
    CLUSTER_SPANS,
    cut_out,
    is_blank,
    is_labelled,
    register_attributes,
    without_outer_space,
)
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.pipe import LabelledPipe
from spacy_xner.tagger.gold import Gold, align_gold
from spacy_xner.tagger.model import Tagger, head_network, to_flat_torch
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


class Prediction(NamedTuple):
    """Entities of one document and, if asked for, their probabilities. Units: tokens."""

    spans: list[TokenSpan]
    probabilities: list[float] | None


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
        self.clusters = list(clusters)
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
        teacher = self._find_teacher(weights) if weights is not None else None
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
        if teacher is not None:
            self._go_on_from(teacher, weights)
        for name, objective in self.objectives.items():
            objective.start(self, languages, name)
        self._has_begun = True

    def _find_teacher(self, weights: str | Path) -> "EntityTagger":
        pipes = [pipe for _, pipe in load_model(weights).pipeline if isinstance(pipe, EntityTagger)]
        if len(pipes) != 1:
            reason = f"it has {len(pipes)} taggers, expected one"
            raise XnerError(Errors.XNER310.format(name=self.name, weights=weights, reason=reason))
        if pipes[0].cfg["scheme"] != self.cfg["scheme"]:
            reason = f"its scheme is {pipes[0].cfg['scheme']}, not {self.cfg['scheme']}"
            raise XnerError(Errors.XNER310.format(name=self.name, weights=weights, reason=reason))
        return pipes[0]

    def _go_on_from(self, teacher: "EntityTagger", weights: str | Path | None) -> None:
        """Take over the weights, not the settings: attributes of a model are settings."""
        attributes = [dict(node.attrs) for node in self.model.walk()]
        if _structure(self.model) != _structure(teacher.model):
            reason = "its network is another one"
            raise XnerError(Errors.XNER310.format(name=self.name, weights=weights, reason=reason))
        try:
            self.model.from_bytes(teacher.model.to_bytes())
        except ValueError as error:
            reason = f"its network is another one ({error})"
            raise XnerError(Errors.XNER310.format(name=self.name, weights=weights, reason=reason)) from error
        for node, own in zip(self.model.walk(), attributes, strict=True):
            node.attrs.update(own)

    def predict(self, docs: Iterable[Doc]) -> list[Prediction]:
        """Find the entities of a batch of documents.

        RAISES: XNER301 before initialization.
        """
        docs = list(docs)
        if not self.is_built:
            raise XnerError(Errors.XNER301.format(name=self.name))
        if not any(len(doc) for doc in docs):
            return [Prediction([], [] if self.confidence else None) for _ in docs]
        return self._decode(docs, self.model.predict(docs))

    def _decode(self, docs: list[Doc], emissions: list[Floats2d]) -> list[Prediction]:
        head = head_network(self.model)
        sizes = [len(doc) for doc in docs]
        with torch.inference_mode():
            flat = to_flat_torch(self.model, emissions)
            lengths = torch.tensor(sizes, device=flat.device)
            tags = head.best_tags(flat, lengths)
            spans = self.tag_set.decode(tags.cpu().numpy(), sizes)
            spans = [without_outer_space(doc, s) for doc, s in zip(docs, spans, strict=True)]
            if not self.confidence:
                return [Prediction(s, None) for s in spans]
            places = [
                (offset + span.start, offset + span.end)
                for offset, group in zip(_offsets(sizes), spans, strict=True)
                for span in group
            ]
            probabilities: Iterator[float] = iter(())
            if places:
                places_t = torch.tensor(places, device=flat.device)
                found = head.span_probabilities(flat, lengths, tags, places_t)
                probabilities = iter(found.clamp(0.0, 1.0).tolist())
        return [Prediction(s, [next(probabilities) for _ in s]) for s in spans]

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Prediction]) -> None:
        """Write entities and scores on the documents of this tagger's clusters."""
        for doc, prediction in zip(docs, predictions, strict=True):
            if not self._is_mine(doc):
                continue
            ents = [Span(doc, s.start, s.end, label=s.label) for s in prediction.spans]
            doc.set_ents(ents)
            if self.spans_key:
                doc.spans[self.spans_key] = ents
                if prediction.probabilities is not None:
                    doc.spans[self.spans_key].attrs["scores"] = prediction.probabilities

    def _is_mine(self, doc: Doc) -> bool:
        return doc._.cluster is None or "*" in self.clusters or doc._.cluster in self.clusters

    def _parts(self, doc: Doc) -> list[tuple[Span | None, Doc]]:
        """What this tagger reads of a document: all of it, nothing, or some sentences cut out."""
        segments = doc.spans.get(CLUSTER_SPANS, ())
        if len({segment.label_ for segment in segments}) < 2 or "*" in self.clusters:
            return [(None, doc)] if self._is_mine(doc) else []
        own = [segment for segment in segments if segment.label_ in self.clusters]
        return [(segment, cut_out(segment)) for segment in own]

    def __call__(self, doc: Doc) -> Doc:
        for segment, part in self._parts(doc):
            # None if the error handler let an error pass.
            if super().__call__(part) is not None:
                self._merge(doc, segment, part)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream; documents of other clusters pass untouched, order is kept."""
        for batch in minibatch(stream, batch_size):
            parts = [(doc, segment, part) for doc in batch for segment, part in self._parts(doc)]
            done = {id(part) for part in super().pipe([p for *_, p in parts], batch_size=batch_size)}
            # As in spaCy a document is dropped if the error handler lets its error pass.
            failed = {id(doc) for doc, _, part in parts if id(part) not in done}
            for doc, segment, part in parts:
                if id(part) in done:
                    self._merge(doc, segment, part)
            yield from (doc for doc in batch if id(doc) not in failed)

    def _merge(self, doc: Doc, segment: Span | None, part: Doc) -> None:
        """Write what was found in a sentence on its document, in place of what was there."""
        if segment is None:
            return
        ents = [
            Span(doc, segment.start + ent.start, segment.start + ent.end, label=ent.label_)
            for ent in part.ents
        ]
        # One after the other: an entity may reach into other sentences, and what is no entity is O.
        doc.set_ents([], missing=[ent for ent in doc.ents if _overlap(ent, segment)], default="unmodified")
        doc.set_ents([], outside=[segment], default="unmodified")
        doc.set_ents(ents, default="unmodified")
        if self.spans_key:
            before = doc.spans.get(self.spans_key, SpanGroup(doc))
            rows = [row for row in zip(before, _scores(before), strict=True) if not _overlap(row[0], segment)]
            rows += zip(ents, _scores(part.spans[self.spans_key]), strict=True)
            rows.sort(key=itemgetter(0))
            doc.spans[self.spans_key] = [span for span, _ in rows]
            if self.confidence:
                doc.spans[self.spans_key].attrs["scores"] = [score for _, score in rows]

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
        self._report(golds)
        return golds

    def _compute_loss(
        self, tags: list[NDArray[numpy.int64]], scores: list[Floats2d], weight: float = 1.0
    ) -> tuple[float, list[Floats2d]]:
        sizes = [len(s) for s in scores]
        with torch.enable_grad():
            flat = to_flat_torch(self.model, scores, requires_grad=True)
            gold = torch.cat([torch.from_numpy(ids) for ids in tags]).to(flat.device)
            lengths = torch.tensor(sizes, device=flat.device)
            loss = weight * head_network(self.model).loss(flat, gold, lengths)
            value = float(loss.detach())
            if math.isfinite(value):
                loss.backward()
        gradient = torch.zeros_like(flat) if flat.grad is None else flat.grad
        return value, self.model.ops.unflatten(torch2xp(gradient), sizes)

    def _report(self, golds: list[Gold]) -> None:
        """Warn once of each kind of gold entities that cannot be learnt."""
        total = sum(gold.n_entities for gold in golds)
        misaligned = [text for gold in golds for text in gold.misaligned]
        unknown = [label for gold in golds for label in gold.unknown]
        if misaligned and "misaligned" not in self._warned:
            self._warned.add("misaligned")
            where = "in the first batch that has any"
            warnings.warn(
                Warnings.W101.format(n=len(misaligned), total=total, where=where, first=misaligned[0]),
                stacklevel=3,
            )
        if unknown and "unknown" not in self._warned:
            self._warned.add("unknown")
            labels = ", ".join(sorted(set(unknown)))
            warnings.warn(Warnings.W102.format(n=len(unknown), labels=labels), stacklevel=3)


def _scores(spans: SpanGroup) -> list[float | None]:
    """The scores of spans; none of spans that somebody else has changed."""
    scores = spans.attrs.get("scores", [])
    return scores if len(scores) == len(spans) else [None] * len(spans)


def _overlap(one: Span, other: Span) -> bool:
    return bool(one.start < other.end and other.start < one.end)


def _structure(model: Model) -> list[Any]:
    """What the torch networks of a model are built from, but for the versions that wrote it.

    How loud vectors are comes with the weights, and a second reader with an objective.
    """
    found = []
    for shim in (shim for node in model.walk() for shim in node.shims):
        cfg = {key: value for key, value in shim.cfg.items() if key not in ("vector_scale", "targets")}
        versions = ("transformers_version", "torch_dtype", "dtype")
        config = cfg.get("config") or {}
        cfg["config"] = {key: value for key, value in config.items() if key not in versions}
        found.append(cfg)
    return found


def _offsets(sizes: list[int]) -> list[int]:
    offsets, total = [], 0
    for size in sizes:
        offsets.append(total)
        total += size
    return offsets
