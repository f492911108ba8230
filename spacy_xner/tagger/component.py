"""The pipeline component of every NER model: `EntityTagger`."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer, set_dropout_rate
from thinc.types import Floats2d

from spacy_xner.attributes import has_word, is_blank, is_labelled, language_of, register_attributes
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.pipe import LabelledPipe
from spacy_xner.stored import check_width
from spacy_xner.tagger.confidence import (
    NO_CALIBRATION,
    adjust,
    check_calibration,
    check_threshold,
)
from spacy_xner.tagger.decoding import Prediction, decode
from spacy_xner.tagger.gold import Gold, align_gold, report_unlearnable
from spacy_xner.tagger.model import Tagger, grow_head, head_loss, head_network
from spacy_xner.tagger.rehearsal import Rehearsal, divergence
from spacy_xner.tagger.resume import find_teacher, take_head, take_weights
from spacy_xner.tagger.segments import check_clusters, is_routed_to, parts_of, write_entities
from spacy_xner.tagger.standing import EarlierPipes
from spacy_xner.tags import MISSING, TagSet, TokenSpan
from spacy_xner.types import Scheme


# Older versions of thinc ask whether a value of the settings is an instance.
@runtime_checkable
class Objective(Protocol):
    """A loss on unlabelled documents that is trained together with the tagger.

    reads_labelled: The objective reads the text of the labelled documents too. An objective may also have a
        `labelled_weight`, by which the loss of the labels is multiplied.
    """

    reads_labelled: bool

    def start(self, tagger: "EntityTagger", languages: Iterable[str | None], name: str) -> None:
        """Get ready for a tagger and the languages of the text to read, None where one is unknown."""

    def update(self, docs: list[Doc], tagger: "EntityTagger") -> float:
        """Add gradients to the model's. RETURNS: The weighted loss in nats."""

    def finish_update(self, optimizer: Optimizer) -> None:
        """Step what belongs to the objective alone."""


class EntityTagger(LabelledPipe):
    """Tag named entities with any encoder and head.

    model: `spacy_xner.EntityTagger.v1`.
    scheme: Tag scheme of the output layer: IOB1, IOB2 or BIOES.
    clusters: Clusters (`doc._.cluster`) whose documents this tagger annotates; "*" is every document.
        Documents that nobody has routed are annotated by every tagger. If a document is routed by
        sentences (`doc.spans["clusters"]`), a tagger takes the sentences of its clusters.
    spans_key: Where `doc.spans` gets the entities and, in `attrs["scores"]`, their probabilities;
        empty for nowhere.
    confidence: Compute the probabilities.
    threshold: Entities with a lower probability are not given out. `python -m spacy find-threshold` looks for
        a good one; `spacy xner calibrate` finds one a language.
    overwrite: Replace the entities of earlier components too, such as an `entity_ruler`. Otherwise these
        stay with a score of 1, and a predicted entity that overlaps one of them is dropped. Entities that no
        component before the tagger has set are replaced in any case: those of an earlier run, and the gold
        annotation of a corpus, which would otherwise pass for predictions; see `standing.EarlierPipes`.
    objectives: Auxiliary losses on unlabelled documents by name; see `spacy_xner.objectives`.
    scorer: Scores examples; see `scoring.score_entities`.
    earlier: The components before the tagger.

    Entities without any letter or digit are given out only if the annotation that the tagger was trained on
    has such (`cfg["symbols"]`), and entities with nothing to see in them never.
    """

    SETTINGS = ("clusters", "spans_key", "confidence", "overwrite")

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
        threshold: float = 0.0,
        overwrite: bool,
        objectives: Mapping[str, Objective] = MappingProxyType({}),
        scorer: Callable | None,
        earlier: EarlierPipes | None = None,
    ) -> None:
        register_attributes()
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.clusters = check_clusters(name, clusters)
        self.spans_key = spans_key
        self.confidence = confidence
        self.threshold = check_threshold(name, threshold, confidence)
        self.overwrite = overwrite
        self.earlier = earlier or EarlierPipes(None)
        self.objectives = dict(objectives)
        self._warned: set[str] = set()
        self._has_begun = False
        self._rehearsal = Rehearsal()
        self.cfg: dict[str, Any] = {"labels": [], "scheme": scheme, "symbols": False}
        self.cfg["calibration"] = NO_CALIBRATION

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
        head: str | Path | None = None,
    ) -> None:
        """Collect the labels and build the network.

        weights: A pipeline whose tagger this one goes on from, with other settings where its config has
            others: another loss, more frozen layers. The labels are that tagger's.
        head: A pipeline whose tagger's head this one takes, and does not train until it is loaded anew; the
            weights of such trainings can be averaged.
        RAISES: XNER304 if there are no labels, XNER310 if the weights are of another network, XNER360 for a
            head that does not fit.
        """
        validate_get_examples(get_examples, "EntityTagger.initialize")
        teacher = None
        if weights is not None:
            teacher = find_teacher(weights, EntityTagger, self.name, self.cfg["scheme"])
        self.cfg["symbols"] = False
        if teacher is not None:
            # In their order: those that were added after training stand behind the others.
            labels = teacher.labels
            self.cfg.update(labels=list(labels), symbols=teacher.cfg["symbols"])
        sample: list[Doc] = []
        # An encoder may want to see so many documents of each language.
        n_texts = self.model.get_ref("tok2vec").attrs.get("n_texts", 0)
        n_seen: Counter[str | None] = Counter()
        languages: dict[bool, set[str | None]] = {True: set(), False: set()}
        for label in labels or ():
            self.add_label(label)
        for example in get_examples():
            language = example.predicted._.language
            if len(example.predicted) and (len(sample) < 10 or n_seen[language] < n_texts):
                sample.append(example.predicted)
                n_seen[language] += 1
            languages[is_labelled(example.reference)].add(example.reference._.language)
            if labels is not None and len(sample) == 10 and not self.objectives and not n_texts:
                break
            self._look_for_symbols(example)
            if labels is None:
                for ent in example.reference.ents:
                    self.add_label(ent.label_)
        if not self.labels:
            raise XnerError(Errors.XNER304.format(name=self.name))
        self.model.get_ref("head").shims[0].cfg = {
            "labels": list(self.labels), "scheme": self.cfg["scheme"]
        }  # fmt: skip
        self.model.initialize(X=sample or [Doc(self.vocab, words=["x"])])
        if teacher is not None and weights is not None:
            take_weights(self.model, teacher.model, self.name, weights)
        if head is not None:
            take_head(self.model, head, self.name, self.cfg, EntityTagger)
        for name, objective in self.objectives.items():
            read = languages[False] | languages[True] if objective.reads_labelled else languages[False]
            objective.start(self, read, name)
        self._has_begun = True

    def _look_for_symbols(self, example: Example) -> None:
        if not self.cfg["symbols"]:
            self.cfg["symbols"] = any(not has_word(ent.text) for ent in example.reference.ents)

    def _grow(self, label: str) -> None:
        """Give a trained tagger one more label; the others keep their scores until something is learnt."""
        grow_head(self.model, [*self.labels, label])
        self._rehearsal.forget()

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
        head = head_network(self.model)
        return decode(docs, emissions, head, confidence=self.confidence, symbols=self.cfg["symbols"])

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Prediction]) -> None:
        """Write entities and scores on the documents of this tagger's clusters."""
        for doc, prediction in zip(docs, predictions, strict=True):
            if is_routed_to(doc, self.clusters):
                prediction = self._adjust(doc, None, prediction)
                write_entities(doc, None, prediction, self._standing(doc), self.spans_key)

    def process(self, docs: list[Doc]) -> None:
        """Annotate the documents and sentences of this tagger's clusters; all others stay as they are."""
        parts = [(doc, segment, part) for doc in docs for segment, part in parts_of(doc, self.clusters)]
        predictions = self.predict([part for *_, part in parts])
        standing = {id(doc): self._standing(doc) for doc, *_ in parts}
        for (doc, segment, _), prediction in zip(parts, predictions, strict=True):
            prediction = self._adjust(doc, segment, prediction)
            write_entities(doc, segment, prediction, standing[id(doc)], self.spans_key)

    def _adjust(self, doc: Doc, segment: Span | None, prediction: Prediction) -> Prediction:
        """Scale the probabilities and apply the thresholds; what the tagger learns from has neither."""
        return adjust(prediction, language_of(doc, segment), self.cfg["calibration"], self.threshold)

    def _standing(self, doc: Doc) -> list[Span]:
        return [] if self.overwrite else self.earlier.entities(doc, self.spans_key)

    def add_gradients(self, examples: list[Example], losses: dict[str, float]) -> bool:
        """Learn entities. Unlabelled documents add nothing to this loss, but to those of the objectives.

        RAISES: XNER303; XNER315 for objectives of a tagger that was not initialized.
        """
        losses[self.name] += self._update_labelled(examples)
        if self.objectives:
            if not self._has_begun:
                names = ", ".join(self.objectives)
                raise XnerError(Errors.XNER315.format(name=self.name, objectives=names))
            self._update_unlabelled(examples, losses)
        return True

    def rehearse(
        self,
        examples: Iterable[Example],
        *,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
        drop: float = 0.0,
    ) -> dict[str, float]:
        """Learn to tag as at the first rehearsal, whatever has been learnt since; annotation is not read.

        `nlp.rehearse` knows no limit of a learning rate: an encoder that has one waits for the next update.
        A tagger with a listener does not rehearse (XNER-W351).
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        docs = [eg.predicted for eg in examples if not is_blank(eg.predicted)]
        if self.listens:
            if "rehearsal" not in self._warned:
                self._warned.add("rehearsal")
                warnings.warn(Warnings.W351.format(name=self.name), stacklevel=2)
        elif docs:
            set_dropout_rate(self.model, drop)
            losses[self.name] += self.check_loss(self._rehearsal.learn(self.model, docs), docs)
            if sgd is not None:
                super().finish_update(sgd)
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
        # An objective may want the mean of all losses, not their sum.
        weight = prod(getattr(objective, "labelled_weight", 1.0) for objective in self.objectives.values())
        docs, open_tags = [eg.predicted for eg in examples], [gold.open_tags for gold in golds]
        return self._learn(docs, [gold.ids for gold in golds], weight, open_tags)

    def _learn(
        self,
        docs: list[Doc],
        tags: list[NDArray[numpy.int64]],
        weight: float,
        open_tags: list[NDArray[numpy.bool_]] | None = None,
    ) -> float:
        emissions, backprop = self.model.begin_update(docs)
        loss, d_emissions = head_loss(self.model, tags, emissions, weight, open_tags)
        self.check_loss(loss, docs)
        backprop(d_emissions)
        return loss

    def _update_unlabelled(self, examples: list[Example], losses: dict[str, float]) -> None:
        """Add the gradients and losses of the objectives on the documents without annotation."""
        examples = [eg for eg in examples if not is_blank(eg.predicted)]
        unlabelled = [eg.predicted for eg in examples if not is_labelled(eg.reference)]
        for name, objective in self.objectives.items():
            key = f"{self.name}_{name}"
            texts = [eg.predicted for eg in examples] if objective.reads_labelled else unlabelled
            loss = objective.update(texts, self) if texts else 0.0
            losses[key] = losses.get(key, 0.0) + self.check_loss(loss, texts)

    def find_entities(self, docs: list[Doc]) -> list[list[TokenSpan]]:
        """The entities that the tagger finds now, for objectives."""
        return [prediction.spans for prediction in self.predict(docs)]

    def learn(self, docs: list[Doc], entities: list[list[TokenSpan]], *, weight: float = 1.0) -> float:
        """Add the gradients of documents with these entities, for objectives. RETURNS: The weighted loss."""
        tags = [self.tag_set.encode(spans, len(doc)) for doc, spans in zip(docs, entities, strict=True)]
        return self._learn(docs, tags, weight)

    def learn_scores(self, docs: list[Doc], scores: list[Floats2d], *, weight: float = 1.0) -> float:
        """Add the gradients of documents with a teacher's tag scores. RETURNS: The weighted loss in nats.

        The loss is the divergence of the tags' probabilities, token by token; see `rehearsal.divergence`.
        scores: Shape: (n_tokens, n_tags) a document, the tags in this tagger's order. The teacher may lack
            the tags of labels that were added later: of these nothing is learnt.
        """
        emissions, backprop = self.model.begin_update(docs)
        n_tags = scores[0].shape[1] if scores else len(self.tag_set)
        loss, gradients = divergence(self.model, scores, [array[:, :n_tags] for array in emissions])
        missing = ((0, 0), (0, len(self.tag_set) - n_tags))
        gradients = [self.model.ops.xp.pad(gradient, missing) for gradient in gradients]
        backprop([weight * gradient for gradient in gradients])
        return weight * loss

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the model and the heads of the objectives."""
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
        golds = self._align(list(examples))
        open_tags = [gold.open_tags for gold in golds]
        return head_loss(self.model, [gold.ids for gold in golds], scores, open_tags=open_tags)

    def _align(self, examples: list[Example]) -> list[Gold]:
        for example in examples:
            self._look_for_symbols(example)
        golds = [align_gold(example, self.tag_set) for example in examples]
        report_unlearnable(golds, self._warned)
        return golds

    def load_cfg(self, cfg: dict[str, Any]) -> None:
        """Take over labels, scheme and calibration. RAISES: XNER188, XNER335."""
        calibration = check_calibration(self.name, cfg.get("calibration", NO_CALIBRATION))
        super().load_cfg({**cfg, "calibration": calibration})

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
