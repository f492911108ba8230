"""The pipeline component that carries entities over from a parallel document: `EntityProjector`."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

import numpy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_xner.attributes import register_attributes, without_outer_space
from spacy_xner.errors import Errors, XnerError
from spacy_xner.pipe import GuardedPipe
from spacy_xner.projector.alignment import Candidate, share_of_overlap
from spacy_xner.projector.filters import Entity, Outcome, choose_entities
from spacy_xner.projector.model import Aligner, Gold, Pair
from spacy_xner.shim import TorchShim
from spacy_xner.stored import check_width


class Prediction(NamedTuple):
    """Result for one document.

    sources: Entities of the source.
    candidates: Places of each entity.
    outcome: The places that the filters left, and why others fell.
    """

    sources: list[Entity]
    candidates: list[list[Candidate]]
    outcome: Outcome


class EntityProjector(GuardedPipe):
    """Set the entities of a document by those of its parallel document, `doc._.source`.

    `doc._.projection` describes every entity of the source, in order: its text, label, places (first and end
    token, score) and fate, one of `filters.Fate`. A document that lost an entity stays without annotation: to
    learn from it would teach that the entity is none.

    model: `spacy_xner.SimilarityAligner.v1`, which needs no training, or `spacy_xner.PairAligner.v1`.
    suppressed: Labels that become O.
    min_probability: Least score of a place.
    back_projection: Believe only places that lead back to the entity.
    keep_incomplete: Annotate documents that lost entities, too.
    spans_key: Key of `doc.spans` for the entities and their scores; empty for none.
    scorer: Scores examples; see `scoring.score_entities`.
    SOURCE: Li et al. 2021, section 4.3.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Aligner,
        name: str = "entity_projector",
        *,
        suppressed: list[str],
        min_probability: float,
        back_projection: bool,
        keep_incomplete: bool,
        spans_key: str,
        scorer: Callable | None,
    ) -> None:
        register_attributes()
        self.vocab = vocab
        self.model = model
        self.name = name
        self.suppressed = list(suppressed)
        self.min_probability = min_probability
        self.back_projection = back_projection
        self.keep_incomplete = keep_incomplete
        self.spans_key = spans_key
        self.scorer = scorer
        self.cfg: dict[str, Any] = {}

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Read the encoder's weights. Examples are not needed."""
        docs = [example.predicted for example in islice(get_examples(), 10)]
        self.model.initialize(X=[Pair(doc, doc, []) for doc in docs if len(doc)] or None)

    def predict(self, docs: Iterable[Doc]) -> list[Prediction]:
        """Project the entities of a batch.

        RAISES: XNER301 before initialization, XNER501 for a document without a source.
        """
        pairs = [self._pair(doc) for doc in docs]
        if not self.is_built:
            raise XnerError(Errors.XNER301.format(name=self.name))
        # Whitespace has no vectors, and looks like anything.
        candidates = [
            [without_outer_space(pair.target, places) for places in entities]
            for pair, entities in zip(pairs, self.model.predict(pairs), strict=True)
        ]
        confirmed = self._confirm(pairs, candidates) if self.back_projection else None
        outcomes = []
        for i, (pair, places) in enumerate(zip(pairs, candidates, strict=True)):
            sources = [Entity(ent.text, ent.label_) for ent in pair.source.ents]
            outcome = choose_entities(
                sources,
                places,
                [token.text for token in pair.target],
                suppressed=self.suppressed,
                min_probability=self.min_probability,
                confirmed=confirmed[i] if confirmed is not None else None,
            )
            outcomes.append(Prediction(sources, places, outcome))
        return outcomes

    @property
    def is_built(self) -> bool:
        """True once the encoder has weights."""
        return bool(self.model.get_ref("tok2vec").has_dim("nO"))

    def _pair(self, doc: Doc) -> Pair:
        source = doc._.source
        if source is None:
            raise XnerError(Errors.XNER501.format(name=self.name, text=doc.text[:40]))
        return Pair(source, doc, [(ent.start, ent.end) for ent in source.ents])

    def _confirm(self, pairs: list[Pair], candidates: list[list[list[Candidate]]]) -> list[list[bool]]:
        """Lead the places of every entity back to the source, and see whether they come to the entity.

        Each pass asks for one place of every entity, because places that are asked for together share the
        tokens among them.
        """
        confirmed = [[bool(places) for places in entities] for entities in candidates]
        for number in range(max((len(places) for entities in candidates for places in entities), default=0)):
            asked = [
                [i for i, places in enumerate(entities) if len(places) > number] for entities in candidates
            ]
            reversed_pairs = [
                Pair(pair.target, pair.source, [entities[i][number][:2] for i in rows])
                for pair, entities, rows in zip(pairs, candidates, asked, strict=True)
            ]
            answers = zip(pairs, asked, self.model.predict(reversed_pairs), confirmed, strict=True)
            for pair, rows, returned, is_confirmed in answers:
                for i, origins in zip(rows, returned, strict=True):
                    leads_back = bool(origins) and share_of_overlap(origins[0][:2], pair.entities[i]) >= 0.5
                    is_confirmed[i] &= leads_back
        return confirmed

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Prediction]) -> None:
        """Write entities, scores and what became of every entity of the source."""
        for doc, (sources, candidates, outcome) in zip(docs, predictions, strict=True):
            doc._.projection = [
                {"text": text, "label": label, "places": [list(place) for place in places], "fate": fate.name}
                for (text, label), places, fate in zip(sources, candidates, outcome.fates, strict=True)
            ]
            if not (outcome.is_complete or self.keep_incomplete):
                doc.set_ents([], default="missing")
                doc.spans.pop(self.spans_key, None)
                continue
            ents = [Span(doc, e.start, e.end, label=e.label) for e in outcome.entities]
            doc.set_ents(ents)
            if self.spans_key:
                doc.spans[self.spans_key] = ents
                doc.spans[self.spans_key].attrs["scores"] = [e.probability for e in outcome.entities]

    @property
    def is_trainable(self) -> bool:
        """False if all of the encoder is frozen, or not built yet."""
        if not self.is_built:
            return False
        shims = [shim for shim in self.model.get_ref("tok2vec").shims if isinstance(shim, TorchShim)]
        # spaCy's own encoders have no torch network, and nothing frozen.
        return not shims or any(
            weights.requires_grad for shim in shims for weights in shim.network.parameters()
        )

    def add_gradients(self, examples: list[Example], losses: dict[str, float]) -> bool:
        """Learn where the entity of the source is: in the gold entities of the target, or nowhere.

        RAISES: XNER303; XNER501 for a document without a source, XNER504 if the source has not exactly one
            entity.
        """
        examples = [eg for eg in examples if len(eg.predicted)]
        if not examples:
            return False
        pairs = [self._pair(eg.predicted) for eg in examples]
        for pair in pairs:
            if len(pair.entities) != 1:
                text = pair.source.text[:60]
                raise XnerError(Errors.XNER504.format(n=len(pair.entities), text=text))
        loss, backprop = self.model.attrs["learn"](self.model, pairs, [_gold(eg) for eg in examples])
        self.check_loss(loss, [eg.reference for eg in examples])
        backprop()
        losses[self.name] += loss
        return True

    SETTINGS = ("suppressed", "min_probability", "back_projection", "keep_incomplete", "spans_key")

    def check_loaded(self) -> None:
        """Compare the output layer, if there is one, with the encoder. RAISES: XNER338."""
        super().check_loaded()
        if self.model.has_ref("output"):
            check_width(self.model.get_ref("tok2vec"), self.model.get_ref("output"))


def _gold(example: Example) -> Gold:
    tags = example.get_aligned_ner()
    known = numpy.array([tag is not None for tag in tags], dtype=bool)
    return Gold(numpy.array([tag not in (None, "O") for tag in tags], dtype=bool), known)
