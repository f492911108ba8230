"""Which projected entities to believe."""

from spacy_xner.projector.alignment import Candidate
from spacy_xner.projector.filters import Entity, Fate, choose_entities

WORDS = ["Paris", "und", "Rom", "und", "Paris"]
PARIS, ROM, AGAIN = Candidate(0, 1, 0.9), Candidate(2, 3, 0.8), Candidate(4, 5, 0.7)


def choose(*entities, **settings):
    names, candidates = zip(*entities, strict=True)
    sources = [name if isinstance(name, Entity) else Entity("name", name) for name in names]
    return choose_entities(sources, candidates, WORDS, **settings)


def test_all_entities_are_projected():
    outcome = choose(("LOC", [ROM]), ("LOC", [PARIS, AGAIN]))
    assert outcome.is_complete
    assert outcome.entities == [(0, 1, "LOC", 0.9), (2, 3, "LOC", 0.8), (4, 5, "LOC", 0.7)]


def test_a_name_is_an_entity_wherever_it_is_mentioned():
    outcome = choose(("LOC", [PARIS]))
    assert outcome.entities == [(0, 1, "LOC", 0.9), (4, 5, "LOC", 0.9)]
    # But not where another entity has its place.
    outcome = choose(("LOC", [PARIS]), ("PER", [AGAIN]))
    assert [e[:3] for e in outcome.entities] == [(0, 1, "LOC"), (4, 5, "PER")]
    outcome = choose(("LOC", [PARIS]), ("PER", [AGAIN]), suppressed=["PER"])
    assert [e[:3] for e in outcome.entities] == [(0, 1, "LOC")]


def test_an_entity_without_a_place_makes_the_sentence_incomplete():
    outcome = choose(("LOC", [ROM]), ("PER", []))
    assert outcome.fates == [Fate.projected, Fate.no_place]
    assert not outcome.is_complete
    assert [e[:2] for e in outcome.entities] == [(2, 3)]


def test_several_places_need_the_same_text():
    assert [e[:2] for e in choose(("LOC", [PARIS, AGAIN])).entities] == [(0, 1), (4, 5)]
    outcome = choose(("LOC", [PARIS, ROM]))
    assert outcome.fates == [Fate.ambiguous]
    assert outcome.entities == []


def test_overlapping_places_are_not_believed():
    outcome = choose(("LOC", [PARIS]), ("PER", [Candidate(0, 3, 0.9)]), ("LOC", [AGAIN]))
    assert outcome.fates == [Fate.overlap, Fate.overlap, Fate.projected]
    # The same name, mentioned twice on both sides, may share its places; with another label it may not,
    # and two names are not one.
    same = choose(("LOC", [PARIS, AGAIN]), ("LOC", [AGAIN, PARIS]))
    assert same.is_complete
    assert [e[:2] for e in same.entities] == [(0, 1), (4, 5)]
    assert choose(("LOC", [PARIS]), ("PER", [PARIS])).fates == [Fate.overlap] * 2
    two = choose((Entity("Paris", "LOC"), [PARIS]), (Entity("Rome", "LOC"), [PARIS]))
    assert two.fates == [Fate.overlap] * 2


def test_suppressed_labels_become_o_and_lose_nothing():
    outcome = choose(("MISC", [ROM]), ("LOC", [PARIS]), suppressed=["MISC"])
    assert outcome.fates == [Fate.suppressed, Fate.projected]
    assert outcome.is_complete
    assert {e.label for e in outcome.entities} == {"LOC"}


def test_improbable_places_are_not_believed():
    outcome = choose(("LOC", [ROM]), ("LOC", [PARIS, AGAIN]), min_probability=0.75)
    assert outcome.fates == [Fate.projected, Fate.improbable]


def test_unconfirmed_places_are_not_believed():
    outcome = choose(("LOC", [ROM]), ("LOC", [PARIS]), confirmed=[True, False])
    assert outcome.fates == [Fate.projected, Fate.unconfirmed]
    assert choose(("LOC", []), confirmed=[False]).fates == [Fate.no_place]


def test_a_sentence_without_entities_is_complete():
    outcome = choose_entities([], [], WORDS)
    assert outcome.is_complete
    assert outcome.entities == []
