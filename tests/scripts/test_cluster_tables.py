"""Tables of runs by grouping: which runs stand for a grouping, and differences by sentences."""

from pathlib import Path
from typing import Any

import numpy
import pytest

from spacy_xner.errors import XnerError
from spacy_xner.files import write_json
from spacy_xner.significance import bootstrap

from scripts.figures import figures_of
from scripts.results import pack_counts, unpack_counts, write_result
from scripts.views import tables_of
from scripts.views.clusters import is_cluster_run
from tests.scripts.corpora import make_result

GROUPINGS = [
    {"name": "found", "clusters": {"west": ["de", "en"], "east": ["zh"]}},
    {"name": "monolingual", "clusters": {"de": ["de"], "en": ["en"], "zh": ["zh"]}},
]
GOLD = numpy.full((40, 3), 1)


def make_run(languages: list[str], seed: int, f: float, **axes: Any) -> dict[str, Any]:
    tested = axes.pop("tested_on", languages)
    counts = GOLD.copy()
    counts[: round(40 * (1 - f)), 0] = 0
    rows = [
        {"split": "test", "language": lang, "source": "", "label": label, "p": f, "r": f, "f": f}
        for lang in tested
        for label in ("all", "LOC")
    ]
    settings = {"tested_on": tested, "combination": "", "held_out": [], "test_sources": ["wiki"], **axes}
    packed = pack_counts({lang: counts.tolist() for lang in tested})
    axes = {"seed": seed, "trained_on": languages}
    return make_result("clusters", axes, settings=settings, scores=rows, counts=packed, steps=300 + seed)


RUNS = [
    make_run(["de", "en"], 0, 0.8), make_run(["de", "en"], 1, 0.9), make_run(["zh"], 0, 0.5),
    make_run(["de"], 0, 0.4), make_run(["en"], 0, 0.8),
    make_run(["en"], 0, 0.3, held_out=["de"], tested_on=["de"]),
    make_run(["de", "en"], 0, 0.6, combination="cluster", tested_on=["en"], test_sources=["ewt"]),
]  # fmt: skip


def test_runs_stand_for_every_grouping_with_their_cluster(tmp_path: Path) -> None:
    for i, run in enumerate(RUNS):
        write_result(tmp_path / f"{i}.json", run)
    described = {"name": "toy", "kind": "clusters", "axes": {}, "settings": {}, "groupings": GROUPINGS}
    write_result(tmp_path / "experiment.json", described)
    tables = {table.title: [list(row) for row in table.rows] for table in tables_of(tmp_path)}
    assert tables["Test F1 by language and grouping"] == [
        ["de", "**85.0 (7.1)**", "40.0"],
        ["en", "**85.0 (7.1)**", "80.0"],
        ["zh", "**50.0**", "**50.0**"],
        ["mean", "73.3", "56.7"],
        ["steps", "300–301", "300"],
    ]
    title = "Difference of found in F1 (95 % of a paired bootstrap), * where p < 0.05"
    differences = {language: shown for language, shown, _ in tables[title]}
    assert [steps for _, _, steps in tables[title]] == ["300–301", "300–301", "300"]
    assert differences["de"].startswith("+45.0 (+")
    assert differences["de"].endswith("*")
    assert differences["zh"] == "+0.0 (+0.0 to +0.0)"
    assert tables["Zero-shot F1 from the cluster without these languages"] == [["de", "30.0", "30.0", "300"]]
    combined = tables["Test F1 on another corpus, by what was trained on"]
    assert combined == [["cluster", "**60.0**", "300"]]
    assert list(tables["Test F1 by label"][0]) == ["de", "85.0 (7.1)", "40.0", "300–301"]
    assert list(figures_of(tmp_path)) == ["Test F1 over seeds by grouping"]
    points = [[float(i), -float(i)] for i in range(4)]
    content = {"languages": ["de", "de", "en", "zh"], "points": {"base-max": points, "identifier": points}}
    write_json(tmp_path / "figures" / "sentences.json", content)
    drawn = figures_of(tmp_path)
    assert list(drawn) == ["Sentences by language", "Test F1 over seeds by grouping"]
    # Three languages in two panels, and in the legend.
    assert drawn["Sentences by language"].count("PathCollection") == 9


def test_runs_on_another_corpus_stand_for_no_grouping() -> None:
    assert [is_cluster_run(run, ["de", "en"]) for run in RUNS] == [True, True, *[False] * 5]


def test_counts_are_packed_without_loss() -> None:
    rng = numpy.random.default_rng(0)
    counts = rng.integers(0, 5, size=(1000, 3))
    packed = pack_counts({"de": counts.tolist()})["de"]
    assert (unpack_counts(packed) == counts).all()
    assert len(packed) < 2000
    assert unpack_counts(pack_counts({"de": [(300, 1, 1)]})["de"]).tolist() == [[255, 1, 1]]
    bomb = pack_counts({"de": [(0, 0, 0)] * 1_000_001})["de"]
    for hostile in (packed[:-8], "no base64!", bomb):
        with pytest.raises(XnerError, match="XNER815"):
            unpack_counts(hostile)


def test_the_bootstrap_knows_equal_and_better_systems() -> None:
    rng = numpy.random.default_rng(0)
    gold = rng.integers(1, 4, size=300)
    good = numpy.stack([gold, gold, gold], 1).astype(float)
    bad = numpy.stack([gold - (rng.random(300) < 0.3), gold, gold], 1).astype(float)
    better = bootstrap([good], [bad])
    exact = 1 - 2 * bad[:, 0].sum() / (bad[:, 1] + bad[:, 2]).sum()
    assert better.difference == pytest.approx(100 * exact)
    assert better.low < better.difference < better.high
    assert better.p == 0
    same = bootstrap([bad], [bad])
    assert (same.difference, same.low, same.high) == (0, 0, 0)
