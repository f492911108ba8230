"""Clustering, the vote of the languages, the choice of k, grouping files."""

import json
import tracemalloc
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_xner.router.clustering import (
    choose_k,
    cluster_sentences,
    compare_numbers,
    make_grouping,
    nearest,
    stability,
    vote,
)
from spacy_xner.router.grouping import Grouping, read_grouping


def ward_by_hand(vectors, k):
    """Merge, again and again, the two clusters that raise the sum of squares least."""
    clusters = [[i] for i in range(len(vectors))]

    def spread(members):
        return ((vectors[members] - vectors[members].mean(0)) ** 2).sum()

    while len(clusters) > k:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
        a, b = min(
            pairs,
            key=lambda p: (
                spread(clusters[p[0]] + clusters[p[1]]) - spread(clusters[p[0]]) - spread(clusters[p[1]])
            ),
        )
        clusters[b] += clusters.pop(a)
    return {frozenset(members) for members in clusters}


def as_sets(labels):
    return {frozenset(numpy.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


@pytest.mark.parametrize("k", [2, 3, 5])
def test_clusters_equal_wards_criterion_by_hand(k):
    vectors = numpy.random.default_rng(k).normal(size=(24, 4)).astype("float32")
    assert as_sets(cluster_sentences(vectors, k)) == ward_by_hand(vectors, k)


def blobs(n, n_blobs=4, seed=0):
    rng = numpy.random.default_rng(seed)
    centres = rng.normal(scale=6, size=(n_blobs, 8))
    own = numpy.arange(n) % n_blobs
    return (centres[own] + rng.normal(size=(n, 8))).astype("float32"), own


def test_a_sample_and_assignment_give_the_exact_clusters_of_separate_groups():
    vectors, _ = blobs(600)
    exact = cluster_sentences(vectors, 4)
    assert as_sets(cluster_sentences(vectors, 4, max_exact=100)) == as_sets(exact)


def test_many_sentences_need_no_matrix_of_all_pairs():
    vectors, own = blobs(20_000)
    tracemalloc.start()
    labels = cluster_sentences(vectors, 4, max_exact=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All pairs would be 1.6 GB.
    assert peak < 20e6
    assert as_sets(labels) == as_sets(own)


@pytest.mark.parametrize("k", [1, 4])
def test_an_impossible_number_of_clusters_is_an_error(k):
    with pytest.raises(ValueError, match="XNER402"):
        cluster_sentences(numpy.zeros((3, 2), dtype="float32"), k)


def test_the_nearest_mean_is_that_of_a_slow_search():
    rng = numpy.random.default_rng(1)
    vectors, means = rng.normal(size=(50, 6)), rng.normal(size=(5, 6))
    slow = [int(((v - means) ** 2).sum(1).argmin()) for v in vectors]
    assert nearest(vectors, means).tolist() == slow


def test_the_majority_decides_and_ties_are_told():
    votes = vote(numpy.array([0, 0, 1, 1, 2, 2]), ["de", "de", "de", "ja", "zh", "zh"], 3)
    assert votes["de"] == (0, [2, 1, 0], pytest.approx(2 / 3), False)
    tied = vote(numpy.array([1, 2]), ["de", "de"], 3)["de"]
    assert (tied.winner, tied.tied) == (1, True)


def test_a_grouping_names_clusters_in_order_and_tells_purity():
    labels = numpy.array([2, 2, 2, 0, 0, 0, 0, 2])
    languages = ["en", "en", "de", "zh", "ja", "zh", "ja", "ja"]
    with pytest.warns(UserWarning, match="XNER-W402"):
        grouping = make_grouping(vote(labels, languages, 3), 3)
    assert grouping.clusters == {"cluster1": ["de", "en"], "cluster2": ["ja", "zh"]}
    assert grouping.about["purity"]["ja"] == pytest.approx(0.6667)
    assert grouping.about["votes"]["ja"] == {"cluster1": 1, "cluster2": 2}


def test_lonely_languages_are_warned_of():
    with pytest.warns(UserWarning, match=r"XNER-W401.*cluster1 \(ar\)"):
        make_grouping(vote(numpy.array([0, 1, 1]), ["ar", "de", "en"], 2), 2)


def test_a_single_language_is_an_error():
    with pytest.raises(ValueError, match="XNER402"):
        make_grouping(vote(numpy.array([0, 1]), ["ar", "ar"], 2), 2)


def test_the_most_stable_number_of_clusters_is_chosen():
    vectors, own = blobs(400, n_blobs=3)
    # Six languages, two in each of three blobs.
    languages = [f"l{o}{i % 2}" for i, o in enumerate(own)]
    k, scores = choose_k(vectors, languages, [2, 3, 4, 5, 9])
    assert k in (2, 3)
    assert scores[3] == pytest.approx(1.0)
    assert 9 not in scores
    assert stability(vectors, languages, 3) == scores[3]
    assert scores[5] < 1


def test_no_possible_number_of_clusters_is_an_error():
    with pytest.raises(ValueError, match="XNER402"):
        choose_k(numpy.zeros((4, 2), dtype="float32"), ["de"] * 4, [2, 3])


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"name": "x", "clusters": {}}',
        '{"name": "x", "clusters": {"../up": ["de"]}}',
        '{"name": "x", "clusters": {"a": ["de"], "b": ["de"]}}',
        '{"name": "x", "clusters": {"a": ["de", "de"]}}',
        '{"name": "x", "clusters": {"a": []}}',
        '{"name": "x", "clusters": {"a": [1]}}',
        '{"name": "x", "clusters": {"a": "de"}}',
        '{"name": "x", "clusters": {"a": 5}}',
        '{"name": "", "clusters": {"a": ["de"]}}',
    ],
)
def test_a_bad_grouping_file_is_an_error(tmp_path, content):
    (tmp_path / "g.json").write_text(content)
    with pytest.raises(ValueError, match="XNER403"):
        read_grouping(tmp_path / "g.json")


@pytest.mark.parametrize("path", sorted(Path("assets/groupings").glob("*.json")), ids=lambda p: p.stem)
def test_the_groupings_of_the_project_name_the_papers_languages(path):
    grouping = read_grouping(path)
    assert grouping.name == path.stem
    assert grouping.languages == [
        "ar",
        "da",
        "de",
        "en",
        "es",
        "fr",
        "he",
        "hi",
        "it",
        "ja",
        "ko",
        "ru",
        "sw",
        "yo",
        "zh",
    ]


def test_a_grouping_is_restricted_to_languages_it_names():
    grouping = Grouping("x", {"a": ["de", "en"], "b": ["ja"]})
    assert grouping.restrict(["en"]).clusters == {"a": ["en"]}
    with pytest.raises(ValueError, match="XNER404"):
        grouping.restrict(["en", "fi"])


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9][a-z0-9_]{0,8}", fullmatch=True), st.integers(1, 4), min_size=1, max_size=5
    )
)
def test_groupings_survive_json(sizes):
    numbers = iter(range(100))
    clusters = {name: [f"l{next(numbers)}" for _ in range(size)] for name, size in sizes.items()}
    grouping = Grouping("any", clusters, {"k": 3})
    again = Grouping.from_json(json.loads(json.dumps(grouping.to_json())), "test")
    assert again == grouping
    assert set(again.cluster_of.values()) == set(clusters)


def test_several_numbers_of_clusters_stand_side_by_side():
    """Four tight groups of languages: with fewer clusters the nearest ones fall together."""
    rng = numpy.random.default_rng(0)
    centres = {"de": 0.0, "nl": 1.0, "ja": 20.0, "ar": 60.0}
    languages = [language for language in centres for _ in range(10)]
    rows = [
        [centres[language] + noise]
        for language, noise in zip(languages, rng.normal(0, 0.01, 40), strict=True)
    ]
    found = compare_numbers(numpy.array(rows, dtype="float32"), languages, [2, 3, 4])
    groups = {k: sorted(map(tuple, clusters.values())) for k, clusters in found.items()}
    assert groups == {
        2: [("ar",), ("de", "ja", "nl")],
        3: [("ar",), ("de", "nl"), ("ja",)],
        4: [("ar",), ("de",), ("ja",), ("nl",)],
    }
