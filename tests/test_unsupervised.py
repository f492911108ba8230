"""Maps between spaces without a dictionary: starts, criterion, verdict."""

import json
from inspect import signature
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor

from spacy_xner.cli.app import xner
from spacy_xner.cli.vectors.options import vectors
from spacy_xner.vectors import adversary, starts
from spacy_xner.vectors import judge as judge_module
from spacy_xner.vectors.adversary import (
    ADVERSARY,
    CONNEAU,
    Adversary,
    learn_rotation,
    parse_adversary,
    pull_to_rotation,
    random_rotation,
)
from spacy_xner.vectors.judge import Unsupervised, agreed_pairs, choose_start, judge, overlap
from spacy_xner.vectors.mapping import (
    Pairs,
    Spelling,
    join_pairs,
    map_tables,
    mean_cosine,
    mean_similarity,
    mutual_pairs,
    nearest,
    nearest_rotation,
    normalise_rows,
    precision,
    refine,
)
from spacy_xner.vectors.spelling import SPELLING, compare_spelling
from spacy_xner.vectors.starts import (
    EXPLORATION,
    INITIALISERS,
    MAP_SETTINGS,
    Exploration,
    MapSettings,
    Start,
    explore,
    follow_starts,
    match_distributions,
    self_learn,
)
from spacy_xner.vectors.table import VectorTable, read_table, write_table
from spacy_xner.vectors.unsupervised import map_without_dictionary

from tests.cli import invoke

N = 1000
QUICK = Exploration(n_words=400, patience=3)
EASY = MapSettings((), min_words=9)
NO_FEATURES = (torch.zeros(N, 1), torch.zeros(N, 1))


def make_cloud(rng: numpy.random.Generator, n: int, width: int) -> numpy.ndarray:
    """Topics of unequal size, spread and direction, as those of words are."""
    sizes = 1 / numpy.arange(1, 31)
    topics = rng.choice(30, size=n, p=sizes / sizes.sum())
    centres = rng.normal(size=(30, width)) * numpy.linspace(2, 0.4, width)
    spread = rng.uniform(0.3, 1.2, size=30)[topics, None] * numpy.linspace(1.5, 0.5, width)
    return centres[topics] + spread * rng.normal(size=(n, width))


def make_tables(
    *, related: bool = True, noise: float = 0.2, width: int = 20, n: int = N, seed: int = 0, n_same: int = 0
) -> tuple[VectorTable, VectorTable]:
    """Tables in Latin and in Greek letters, the second one rotated and in an order of its own.

    n_same: Words that are spelled alike, every so many.
    """
    rng = numpy.random.default_rng(seed)
    cloud = make_cloud(rng, n, width)
    rotation, _ = numpy.linalg.qr(rng.normal(size=(width, width)))
    other = cloud if related else make_cloud(rng, n, width)
    other = (other + noise * rng.normal(size=other.shape)) @ rotation
    order = rng.permutation(n)
    source = [spell(i, "abcdefghij") for i in range(n)]
    same = set(range(0, n, n // n_same)) if n_same else set()
    target = [source[i] if i in same else "ψψ" + spell(i, "αβγδεζηθικ") for i in range(n)]
    return (
        VectorTable(source, cloud.astype("float32")),
        VectorTable([target[i] for i in order], other[order].astype("float32")),
    )


def spell(number: int, letters: str) -> str:
    return "".join(letters[int(digit)] for digit in f"{number:05d}")


def gold(n: int = N) -> dict[str, list[str]]:
    source = [spell(i, "abcdefghij") for i in range(n)]
    return {word: ["ψψ" + spell(i, "αβγδεζηθικ"), word] for i, word in enumerate(source)}


def share_right(found: Unsupervised) -> float:
    return precision(found.source, found.target, gold()).by_neighbours[1]


@pytest.fixture(scope="module")
def distributed() -> Unsupervised:
    return map_without_dictionary(
        *make_tables(),
        MapSettings(("identical", "cognates", "distributions"), min_words=N, exploration=QUICK),
    )


def test_distributions_find_the_translations_of_words_in_other_letters(distributed: Unsupervised) -> None:
    assert distributed.verdict == "OK"
    assert share_right(distributed) > 0.8
    evidence = distributed.evidence
    assert evidence["best"].startswith("distributions")
    assert evidence["agreement"] > 0.8
    assert evidence["starts"]["random"]["criterion"] == evidence["floor"] < 0.8
    assert set(evidence["skipped"]) == {"identical 1", "identical 2", "cognates 1", "cognates 2"}
    assert "0 pairs" in evidence["skipped"]["identical 1"]
    assert evidence["same_words"] == {"n": 0, "found": 0.0}
    assert json.loads(json.dumps(evidence)) == evidence
    for table in distributed[:2]:
        numpy.testing.assert_allclose(numpy.linalg.norm(table.vectors, axis=1), 1, atol=1e-4)


def test_words_spelled_alike_are_a_start_and_evidence() -> None:
    found = map_without_dictionary(*make_tables(n_same=100), MapSettings(("identical",), min_words=N))
    assert found.verdict == "OK"
    assert share_right(found) > 0.8
    assert set(found.evidence["starts"]) == {"random", "identical 1", "identical 2"}
    assert found.evidence["same_words"]["n"] == 100
    assert found.evidence["same_words"]["found"] > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_unrelated_spaces_fail(seed: int) -> None:
    tables = make_tables(related=False, seed=seed, n_same=200)
    found = map_without_dictionary(
        *tables, MapSettings(("identical", "distributions"), min_words=N, exploration=QUICK)
    )
    assert found.verdict == "FAILED"
    assert share_right(found) < 0.05


def test_words_that_share_neither_letters_nor_spelling_fail() -> None:
    source, target = make_tables()
    target = target._replace(words=[f"ψ{spell(i, 'ζηθικλμνξο')}" for i in range(N)])
    source = source._replace(words=[spell(i, "bcdfghjklm") for i in range(N)])
    found = map_without_dictionary(source, target, MapSettings(("identical", "cognates"), min_words=N))
    assert found.verdict == "FAILED"
    assert set(found.evidence["starts"]) == {"random"}
    assert set(found.evidence["skipped"]) == {"identical 1", "identical 2", "cognates 1", "cognates 2"}


@pytest.mark.parametrize("learning_rate", [0.0, 1e20])
def test_an_adversary_that_learns_nothing_or_diverges_fails(learning_rate: float) -> None:
    settings = SMALL._replace(learning_rate=learning_rate, n_epochs=1, n_steps=5)
    found = map_without_dictionary(
        *make_tables(related=False, n=300),
        MapSettings(("adversarial",), restarts=1, min_words=300, adversary=settings, exploration=QUICK),
    )
    assert found.verdict == "FAILED"


def test_vectors_that_are_all_the_same_fail() -> None:
    source, target = make_tables(n=100)
    flat = numpy.ones_like(source.vectors)
    found = map_without_dictionary(
        source._replace(vectors=flat), target._replace(vectors=2 * flat),
        MapSettings(("distributions",), min_words=100),
    )  # fmt: skip
    assert found.verdict == "FAILED"
    assert found.evidence["starts"] == {}


SMALL = Adversary(hidden=64, n_epochs=4, n_steps=300, batch_size=64, discriminator_rate=0.3)


def test_an_adversary_finds_the_translations() -> None:
    source, target = make_tables(width=10)
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    # Not at every seed: that is what restarts and the verdict are for.
    rotation = learn_rotation(x, y, SMALL, torch.Generator().manual_seed(1))
    start = mutual_pairs(x @ rotation, y)
    found = self_learn(x, y, start, n_iterations=10, n_frequent=N)
    words = {
        (source.words[i], target.words[j]) for i, j in zip(*(p.tolist() for p in found.pairs), strict=True)
    }
    assert len(words & {(word, group[0]) for word, group in gold().items()}) > 0.8 * N


def test_the_adversary_is_tried_in_both_directions_and_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backwards it is given the answer, forwards a rotation at random: the right ones are to be kept.

    Without exploring, which would find the answer from there too.
    """
    source, target = make_tables()
    calls = []

    def learn(x, y, settings, generator):
        calls.append(settings)
        if len(calls) % 2:
            return random_rotation(x.shape[1], generator)
        order = [source.words.index(word) for word in translated(target)]
        return torch.linalg.lstsq(x, y[order]).solution

    monkeypatch.setattr(starts, "learn_rotation", learn)
    found = map_without_dictionary(
        source,
        target,
        MapSettings(
            ("adversarial",), restarts=2, min_words=N, adversary=SMALL, exploration=QUICK._replace(n_words=0)
        ),
    )
    assert calls == [SMALL] * 4
    assert found.verdict == "OK"
    assert found.evidence["best"] in ("adversarial 2", "adversarial 4")
    assert set(found.evidence["starts"]) == {"random", *(f"adversarial {i}" for i in range(1, 5))}
    assert share_right(found) > 0.8


def translated(table: VectorTable) -> list[str]:
    back = {word: source for source, group in gold().items() for word in group}
    return [back[word] for word in table.words]


def test_an_adversary_is_repeatable_and_leaves_the_global_seed_alone() -> None:
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=200))
    settings = SMALL._replace(n_epochs=2, n_steps=5)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    a, b, c = (learn_rotation(x, y, settings, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    torch.testing.assert_close(torch.rand(3), expected)
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    torch.testing.assert_close(a @ a.T, torch.eye(20), atol=1e-5, rtol=0)
    assert not torch.allclose(a, c, atol=0.1)


def test_a_seed_gives_the_same_tables_again(distributed: Unsupervised) -> None:
    again = map_without_dictionary(
        *make_tables(),
        MapSettings(("identical", "cognates", "distributions"), min_words=N, exploration=QUICK),
    )
    assert again.evidence == distributed.evidence
    numpy.testing.assert_array_equal(again.source.vectors, distributed.source.vectors)
    other = map_without_dictionary(*make_tables(), MapSettings((), seed=1, min_words=N))
    assert other.evidence["floor"] != distributed.evidence["floor"]
    assert other.verdict == "FAILED"


def test_distributions_match_whatever_the_rotation() -> None:
    source, target = make_tables(noise=0.0)
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    pairs = match_distributions(x, y)
    order = [source.words.index(word) for word in translated(target)]
    assert [order[j] for j in pairs.target.tolist()] == pairs.source.tolist()
    assert len(pairs.source) == N
    assert match_distributions(x, y, n_words=50).source.max() < 50


def poor_start(source: VectorTable, target: VectorTable, *, n: int, n_right: int) -> Pairs:
    """The first words of the source, a few with their translations and the others with any word."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(target.words), generator=generator)[:n]
    places = {word: row for row, word in enumerate(translated(target))}
    for i in range(n_right):
        rows[i] = places[source.words[i]]
    return Pairs(torch.arange(n), rows)


def test_chance_takes_a_poor_start_to_where_it_would_not_get_by_itself() -> None:
    source, target = make_tables()
    x, y = normalise_rows(source.vectors), normalise_rows(target.vectors)
    # Of 100 pairs five are right.
    start = poor_start(source, target, n=100, n_right=5)
    right = {(source.words[i], group[0]) for i, group in enumerate(gold().values())}

    def share(pairs: Pairs) -> float:
        found = self_learn(x, y, pairs, n_iterations=10, n_frequent=N).pairs
        rows = zip(found.source.tolist(), found.target.tolist(), strict=True)
        return len({(source.words[i], target.words[j]) for i, j in rows} & right) / N

    a, b = (explore(x, y, start, QUICK, torch.Generator().manual_seed(0)) for _ in range(2))
    assert share(start) < 0.5
    assert share(a) > 0.9
    torch.testing.assert_close(a, b)


def test_explored_words_are_nearest_to_one_another_once_all_similarities_count() -> None:
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=90))
    start = Pairs(torch.arange(60), torch.arange(60))
    settings = Exploration(n_words=50, n_groups=1, n_iterations=1)
    pairs = explore(x, y, start, settings, torch.Generator())
    mapped, others = map_tables(x, y, start)[0][:50], y[:50]
    there, back = nearest(mapped, others, 1).ids[:, 0], nearest(others, mapped, 1).ids[:, 0]
    assert pairs.source.tolist() == [*range(50), *back.tolist()]
    assert pairs.target.tolist() == [*there.tolist(), *range(50)]


@pytest.mark.parametrize("n_groups", [1, 2, 7])
def test_words_find_the_nearest_of_their_own_group(n_groups: int) -> None:
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=90))
    x = x[:71]
    hubs = torch.rand(71), torch.rand(90)
    seeds = (torch.Generator().manual_seed(5) for _ in range(2))
    pairs, objective = starts._induce_in_groups(x, y, hubs, n_groups, next(seeds))
    drawn = next(seeds)
    groups = [torch.randperm(n, generator=drawn).tensor_split(n_groups) for n in (71, 90)]
    scores = x @ y.T - hubs[0][:, None] - hubs[1]
    there, back = {}, {}
    for rows, columns in zip(*(map(Tensor.tolist, side) for side in groups), strict=True):
        there |= {i: max(columns, key=lambda j: scores[i, j]) for i in rows}
        back |= {j: max(rows, key=lambda i: scores[i, j]) for j in columns}
    assert pairs.source.tolist() == [*range(71), *(back[j] for j in range(90))]
    assert pairs.target.tolist() == [*(there[i] for i in range(71)), *range(90)]
    assert objective == pytest.approx(float((x @ y.T)[pairs.source, pairs.target].mean()), abs=1e-5)


def test_words_see_more_of_the_others_whenever_the_objective_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    objectives = iter([0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    start = Pairs(torch.arange(50), torch.arange(50))

    def induce(x, y, hubs, n_groups, generator):
        seen.append(n_groups)
        return start, next(objectives)

    monkeypatch.setattr(starts, "_induce_in_groups", induce)
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=60))
    settings = Exploration(n_words=50, n_groups=5, patience=2)
    explore(x, y, start, settings, torch.Generator())
    assert seen == [5, 5, 5, 5, 2, 2, 2, 1, 1]
    seen.clear()
    objectives = iter([0.1, 0.2, 0.2])
    explore(x, y, start, settings._replace(n_iterations=3), torch.Generator())
    assert seen == [5, 5, 5]


def test_words_near_to_everything_are_found_anew_every_fifth_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def count(queries, keys):
        calls.append(len(queries))
        return mean_similarity(queries, keys)

    monkeypatch.setattr(starts, "mean_similarity", count)
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=90))
    start = Pairs(torch.arange(60), torch.arange(60))
    explore(x[:70], y, start, Exploration(n_groups=2, n_iterations=11), torch.Generator())
    assert calls == [70, 90] * 3


def test_the_start_that_the_others_agree_with_is_chosen_and_of_two_the_better() -> None:
    tables = make_tables()
    rows = torch.arange(200)
    alike, lone, random = (Pairs(rows, rows + n) for n in (0, 300, 500))
    near = Pairs(rows, torch.cat((rows[:150], rows[150:] + 400)))
    found = {
        "random": Start(Pairs(torch.cat((rows, rows)), torch.cat((random.target, alike.target))), 0.1),
        "lone": Start(lone, 0.9),
        "near": Start(near, 0.5),
        "alike": Start(alike, 0.4),
    }
    assert choose_start(*tables, found, {}).evidence["best"] == "near"
    found["nearer"] = Start(Pairs(rows, torch.cat((rows[:180], rows[180:] + 400))), 0.3)
    chosen = choose_start(*tables, found, {})
    assert chosen.evidence["best"] == "nearer"
    consensus = {name: start["consensus"] for name, start in chosen.evidence["starts"].items()}
    assert consensus["lone"] == 0
    assert consensus["nearer"] == pytest.approx(0.9 + 170 / 200)


def test_a_start_leads_to_the_same_place_whatever_others_are_tried() -> None:
    tables = make_tables(n_same=200)
    settings = MapSettings(("random",), seed=3, exploration=QUICK, n_iterations=2)
    alone, _ = follow_starts(*tables, settings)
    others = ("distributions", "cognates", "random")
    found, skipped = follow_starts(*tables, settings._replace(initialisers=others))
    assert set(skipped) == {"cognates 1", "cognates 2"}
    torch.testing.assert_close(found["random"].pairs, alone["random"].pairs)
    chosen = choose_start(*tables, found, skipped)
    assert chosen.evidence["skipped"] == skipped
    assert set(chosen.evidence["starts"]) == {"random", "distributions 1", "distributions 2"}


def test_an_adversary_starts_from_words_that_are_frequent_enough() -> None:
    source, target = make_tables()
    seen = []

    def spy(x, y, start, settings, generator):
        seen.append(int(max(start.source.max(), start.target.max())))
        return start

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starts, "explore", spy)
        patch.setattr(starts, "learn_rotation", lambda x, y, *_: torch.linalg.qr(x.T @ x)[0])
        follow_starts(source, target, MapSettings(("adversarial",), n_frequent=300, n_iterations=1))
    assert len(seen) == 4
    assert max(seen) < 300


def test_the_criterion_equals_brute_force() -> None:
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=60))
    cosines = (x @ y.T).numpy()
    chosen = []
    for i in range(40):
        # Neighbours of target words are looked for among the source words that count.
        near = [numpy.sort(cosines[:40, j])[-10:].mean() for j in range(60)]
        chosen.append(cosines[i, numpy.argmax(2 * cosines[i] - near)])
    assert mean_cosine(x, y, n_frequent=40) == pytest.approx(numpy.mean(chosen), abs=1e-5)
    assert mean_cosine(x, x) == pytest.approx(1.0, abs=1e-5)


def test_overlap_counts_pairs() -> None:
    a = Pairs(torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7]))
    b = Pairs(torch.tensor([2, 0, 1, 9, 8]), torch.tensor([7, 6, 5, 9, 8]))
    assert overlap(a, b) == 2 / 8
    assert overlap(a, a) == 1
    assert overlap(Pairs(torch.tensor([]), torch.tensor([])), a) == 0


@pytest.mark.parametrize(
    ("agreement", "n_pairs", "verdict"),
    [(0.3, 900, "OK"), (0.2, 900, "WEAK"), (0.02, 900, "FAILED"), (0.9, 20, "FAILED"), (0.0, 0, "FAILED")],
)
def test_a_verdict_asks_for_a_second_start(agreement: float, n_pairs: int, verdict: str) -> None:
    assert judge(agreement, n_pairs) == verdict


def test_pulls_end_at_a_rotation() -> None:
    rotation = random_rotation(6, torch.Generator().manual_seed(0))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(pull_to_rotation(rotation, 0.01), rotation, atol=1e-5, rtol=0)
    mapping = 0.7 * rotation
    for _ in range(500):
        mapping = pull_to_rotation(mapping, 0.01)
    torch.testing.assert_close(mapping, rotation, atol=1e-2, rtol=0)


def test_a_map_that_stretches_has_a_rotation_near() -> None:
    generator = torch.Generator().manual_seed(0)
    rotation = random_rotation(6, generator)
    stretched = rotation @ torch.diag(torch.tensor([0.3, 0.6, 1.0, 1.4, 1.9, 2.5]))
    torch.testing.assert_close(nearest_rotation(stretched), rotation, atol=1e-5, rtol=0)


def test_dictionaries_are_found_by_spelling_too_and_keep_what_is_given() -> None:
    x, y = (normalise_rows(table.vectors) for table in make_tables())
    start = Pairs(torch.arange(30), torch.arange(30))
    kept = Pairs(torch.arange(40, 60), torch.arange(40, 60))
    settings = {"n_iterations": 1, "n_frequent": 500, "weighting": 0.0}
    found = mutual_pairs(map_tables(x, y, start)[0][:500], y[:500])
    torch.testing.assert_close(refine(x, y, start, **settings)[0], map_tables(x, y, found)[0])
    expected = map_tables(x, y, join_pairs(kept, found))[0]
    torch.testing.assert_close(refine(x, y, start, fixed=kept, **settings)[0], expected)
    # Features that say more than the vectors: every word's pair is that of its own number.
    spelling = Spelling(kept, (10 * torch.eye(400), 10 * torch.eye(400)))
    same = Pairs(torch.arange(400), torch.arange(400))
    expected = map_tables(x, y, join_pairs(start, kept, same))[0]
    torch.testing.assert_close(refine(x, y, start, fixed=start, spelling=spelling, **settings)[0], expected)


def test_pairs_and_features_of_spelling_mend_a_dictionary_both() -> None:
    tables = make_tables(n_same=250, noise=1.5)
    x, y = (normalise_rows(table.vectors) for table in tables)
    others = {word: pair for word, pair in gold().items() if word not in set(tables[1].words)}
    spelling = compare_spelling(*tables)
    few = Pairs(spelling.pairs.source[::16], spelling.pairs.target[::16])

    def share(spelling: Spelling | None) -> float:
        rows = refine(x, y, few, n_iterations=4, n_frequent=N, weighting=0.25, spelling=spelling)
        mapped = (table._replace(vectors=side.numpy()) for table, side in zip(tables, rows, strict=True))
        return precision(*mapped, others).by_neighbours[1]

    nothing = Pairs(few.source[:0], few.target[:0])
    none, features, pairs, both = map(
        share, (None, spelling._replace(pairs=nothing), Spelling(spelling.pairs, NO_FEATURES), spelling)
    )
    assert none + 0.02 < features < both
    assert none + 0.02 < pairs < both


def test_tables_that_no_map_can_come_of_are_coded_errors() -> None:
    source, target = make_tables(n=100)
    with pytest.raises(ValueError, match=r"XNER616.*5,000 words.*got 100 and 100"):
        map_without_dictionary(source, target, MapSettings(()))
    for same in (source, source._replace(words=target.words), source._replace(vectors=target.vectors)):
        with pytest.raises(ValueError, match="XNER617"):
            map_without_dictionary(same, same if same is source else target, EASY)
    with pytest.raises(ValueError, match=r"XNER619.*among identical, .*got \['magic'\]"):
        map_without_dictionary(source, target, EASY._replace(initialisers=("identical", "magic")))
    with pytest.raises(ValueError, match="XNER611"):
        map_without_dictionary(source, target._replace(vectors=target.vectors[:, 1:]), EASY)
    broken = target.vectors.copy()
    broken[[3, 5], 0] = numpy.nan, numpy.inf
    with pytest.raises(ValueError, match=rf"XNER618.*2 words of the target.*{target.words[3]}"):
        map_without_dictionary(source, target._replace(vectors=broken), EASY)


def run_map(folder: Path, tables: tuple[VectorTable, VectorTable], *options: str, code: int = 0) -> str:
    for table, name in zip(tables, ("a", "b"), strict=True):
        write_table(table, folder / f"{name}.safetensors")
    pairs = "\n".join(f"{word} {group[0]}" for word, group in gold().items())
    (folder / "pairs.txt").write_text(pairs, encoding="utf-8")
    paths = [str(folder / name) for name in ("a.safetensors", "b.safetensors", "out")]
    options = ("--initialisers", "identical,distributions", "--min-words", "900", *options)
    return invoke(xner, "vectors", "map", *paths, *options, code=code)


def test_the_verb_writes_tables_only_if_they_can_be_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "EXPLORATION", QUICK)
    measured = ("--explored", str(QUICK.n_words), "--dictionary", str(tmp_path / "pairs.txt"), "--skip", "0")
    printed = run_map(tmp_path, make_tables(), *measured)
    out = tmp_path / "out"
    names = {"source.safetensors", "target.safetensors", "verdict.json", "precision.json"}
    assert {path.name for path in out.iterdir()} == names
    verdict = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "OK"
    assert verdict["best"] in printed
    measure = json.loads((out / "precision.json").read_text(encoding="utf-8"))
    assert measure["CSLS"]["by_neighbours"]["1"] > 0.8
    assert read_table(out / "source.safetensors").words == make_tables()[0].words
    # Into the same folder: nothing of the first run may be left.
    assert "XNER621" in run_map(tmp_path, make_tables(related=False), *measured, code=1)
    assert {path.name for path in out.iterdir()} == {"failed.json"}
    assert json.loads((out / "failed.json").read_text(encoding="utf-8"))["verdict"] == "FAILED"


@pytest.mark.parametrize("command", ["align", "map"])
def test_spelling_counts_unless_it_is_not_to(command: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in ("one", "two")]
    for table, path in zip(make_tables(n_same=250, noise=0.8), paths, strict=True):
        write_table(table, path)
    words = tmp_path / "words.tsv"
    words.write_text("".join(f"{word}\t{pair[0]}\n" for word, pair in list(gold().items())[:80]), "utf-8")
    arguments = {
        "align": [*paths, words, tmp_path / "out"],
        "map": [*paths, tmp_path / "out", "--initialisers", "identical", "--min-words", 900, "--explored", 0],
    }
    arguments = ["vectors", command, *arguments[command]]
    found = []
    for spelling in ("0.2", "0"):
        invoke(xner, *arguments, "--spelling", spelling)
        found.append(read_table(tmp_path / "out" / "source.safetensors").vectors)
    assert not numpy.allclose(*found, atol=1e-3)
    invoke(xner, *arguments, "--spelling", "-1", code=2)


def test_tables_are_not_mapped_over_themselves(tmp_path: Path) -> None:
    tables = [tmp_path / f"{name}.safetensors" for name in ("source", "target")]
    for table, path in zip(make_tables(), tables, strict=True):
        write_table(table, path)
    assert "XNER620" in invoke(xner, "vectors", "map", *tables, tmp_path, code=1)
    assert all(path.exists() for path in tables)


def test_the_verbs_offer_what_the_library_does_by_default() -> None:
    options = {
        command.name: {
            name: parameter.default for name, parameter in signature(command.callback).parameters.items()
        }
        for command in vectors.registered_commands
    }
    mapped = options["map"]
    assert tuple(mapped["initialisers"].split(",")) == INITIALISERS
    assert mapped["explored"] == EXPLORATION.n_words
    assert mapped["spelling"] == options["align"]["spelling"] == SPELLING
    for name in ("restarts", "weighting", "seed", "min_words"):
        assert mapped[name] == MAP_SETTINGS._asdict()[name]


def test_settings_of_the_adversary_are_read() -> None:
    assert parse_adversary("") == ADVERSARY
    assert parse_adversary("conneau") == CONNEAU
    assert CONNEAU.n_steps * CONNEAU.batch_size == 1_000_000
    assert parse_adversary("hidden=512, beta=0.01") == ADVERSARY._replace(hidden=512, beta=0.01)
    assert parse_adversary("conneau,n_epochs=1").n_frequent == 75_000
    for text in ("muse", "hidden", "hidden=much", "hidden=1.5", "beta=nan", "beta=-1", "hidden=2,conneau"):
        with pytest.raises(ValueError, match="XNER625"):
            parse_adversary(text)


def test_the_maps_rate_shrinks_from_the_second_epoch_on_that_is_no_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = (normalise_rows(table.vectors) for table in make_tables(n=50))
    scores, factors = iter([0.5, 0.4, 0.6, 0.5, 0.5]), []
    monkeypatch.setattr(adversary, "mean_cosine", lambda *args, **kwargs: next(scores))
    monkeypatch.setattr(adversary._Game, "shrink_rate", lambda game, factor: factors.append(factor))
    settings = SMALL._replace(n_epochs=5, n_steps=1, shrink=0.5)
    learn_rotation(x, y, settings, torch.Generator().manual_seed(0))
    assert factors == [1.0, 0.5, 0.5]


def test_pairs_that_two_starts_share_seed_the_last_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two starts have half of their pairs wrong, and not the same ones."""
    source, target = make_tables(noise=0.05)
    right = torch.tensor([target.words.index(gold()[word][0]) for word in source.words])
    starts_of = {}
    for name, wrong in (("a", slice(0, None, 4)), ("b", slice(1, None, 4)), ("random", slice(0, None))):
        pairs = right.clone()
        pairs[wrong] = pairs[wrong].roll(1)
        starts_of[name] = Start(Pairs(torch.arange(N), pairs), 0.5)
    agreed = agreed_pairs(starts_of, 2)
    assert len(agreed.source) == N // 2
    assert torch.equal(agreed.target, right[agreed.source])
    seeds = []
    monkeypatch.setattr(judge_module, "refine", lambda x, y, seed, **kwargs: seeds.append(seed) or (x, y))
    for consensus in (2, 0):
        found = choose_start(source, target, starts_of, {}, EASY._replace(consensus=consensus))
        assert found.evidence["agreed"] == len(seeds[-1].source) == (N // 2 if consensus else N)
