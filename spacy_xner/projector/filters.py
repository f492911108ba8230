"""Which projected entities to believe. Pure functions.

SOURCE: Li et al. 2021, section 4.3.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import combinations, product
from typing import NamedTuple

from spacy_xner.projector.alignment import Candidate, Place, equal_places
from spacy_xner.tags import overlap


class Fate(str, Enum):
    """Result for an entity of the source."""

    projected = "projected"
    # The label is not wanted: the entity becomes O.
    suppressed = "suppressed"
    no_place = "no_place"
    improbable = "improbable"
    unconfirmed = "unconfirmed"
    ambiguous = "ambiguous"
    overlap = "overlap"

    @property
    def text(self) -> str:
        """Words for tables and pages."""
        return _TEXTS[self]


_TEXTS = {
    Fate.projected: "projected",
    Fate.suppressed: "suppressed label",
    Fate.no_place: "no place in the target",
    Fate.improbable: "below the least probability",
    Fate.unconfirmed: "the place leads back to other tokens",
    Fate.ambiguous: "several places with different texts",
    Fate.overlap: "overlaps another entity's place",
}


class Entity(NamedTuple):
    """An entity of the source."""

    text: str
    label: str


class Projected(NamedTuple):
    """An entity in the target sentence. Units: tokens."""

    start: int
    end: int
    label: str
    probability: float


class Outcome(NamedTuple):
    """Result for a sentence.

    entities: Entities of the target.
    fates: Fate of every entity of the source.
    """

    entities: list[Projected]
    fates: list[Fate]

    @property
    def is_complete(self) -> bool:
        """True if no entity was lost: a sentence to learn from."""
        return all(fate in (Fate.projected, Fate.suppressed) for fate in self.fates)


def choose_entities(
    sources: Sequence[Entity],
    candidates: Sequence[Sequence[Candidate]],
    words: Sequence[str],
    *,
    suppressed: Sequence[str] = (),
    min_probability: float = 0.0,
    confirmed: Sequence[bool] | None = None,
) -> Outcome:
    """Apply the filters to one sentence.

    A name that the target mentions more often than the source is an entity everywhere: half of its mentions
    would otherwise be taught as none.

    sources: Entities of the source.
    candidates: Places of every entity.
    words: Tokens of the target.
    suppressed: Labels that become O.
    min_probability: Least score of a place.
    confirmed: True for entities whose place leads back to them; None turns this filter off.
    """
    is_confirmed = confirmed if confirmed is not None else [True] * len(sources)
    fates = [
        _judge(source.label, places, words, suppressed, min_probability, leads_back)
        for source, places, leads_back in zip(sources, candidates, is_confirmed, strict=True)
    ]
    projected = [i for i, fate in enumerate(fates) if fate is Fate.projected]
    for i, j in combinations(projected, 2):
        if _clash(sources[i], candidates[i], sources[j], candidates[j]):
            fates[i] = fates[j] = Fate.overlap
    entities = {
        candidate[:2]: Projected(candidate.start, candidate.end, sources[i].label, candidate.score)
        for i in projected
        if fates[i] is Fate.projected
        for candidate in candidates[i]
    }
    taken = [candidate[:2] for places in candidates for candidate in places]
    _add_mentions(entities, taken, words)
    return Outcome([entities[place] for place in sorted(entities)], fates)


def _add_mentions(entities: dict[Place, Projected], taken: list[Place], words: Sequence[str]) -> None:
    """Add the places that the target writes like those of its entities, where they are free."""
    for place, entity in list(entities.items()):
        for other in equal_places(words, place):
            if not any(overlap(other, used) for used in taken):
                taken.append(other)
                entities[other] = entity._replace(start=other[0], end=other[1])


def _clash(source: Entity, places: Sequence[Candidate], other: Entity, others: Sequence[Candidate]) -> bool:
    """True if places of two entities overlap. Two mentions of one name may have the same place."""
    return any(
        overlap(a[:2], b[:2]) and not (a[:2] == b[:2] and source == other) for a, b in product(places, others)
    )


def _judge(
    label: str,
    candidates: Sequence[Candidate],
    words: Sequence[str],
    suppressed: Sequence[str],
    min_probability: float,
    is_confirmed: bool,
) -> Fate:
    if label in suppressed:
        return Fate.suppressed
    if not candidates:
        return Fate.no_place
    if min(candidate.score for candidate in candidates) < min_probability:
        return Fate.improbable
    if not is_confirmed:
        return Fate.unconfirmed
    if len({tuple(words[candidate.start : candidate.end]) for candidate in candidates}) > 1:
        return Fate.ambiguous
    return Fate.projected
