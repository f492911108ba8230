"""Runs with parts of a recipe, trained for real on a tiny encoder; their tables from results by hand."""

from pathlib import Path
from typing import Any

import pytest
import spacy

from spacy_xner.errors import XnerError
from spacy_xner.files import read_json

from scripts.experiment import read_config, read_experiments
from scripts.recipes import AVERAGE, CONSTRAINED, HEAD, PARTS, READINGS, combine, readings
from scripts.results import pack_counts, read_results, write_result
from scripts.runner import run_experiment
from scripts.transfer import TransferRuns
from scripts.views import tables_of
from scripts.views.transfer import compare, name_recipe, rank_correlation, recipes_of
from tests import tiny
from tests.scripts.corpora import make_result, write_corpus
from tests.scripts.test_experiments import SMALL, make, results_of

ROOT = Path(__file__).parents[2]
PRESET = ROOT / "recipes" / "transfer" / "small.cfg"
TINY: dict[str, Any] = {**SMALL, "epochs": 2, "limit": 4, "dev_limit": 4, "test_limit": 4}


def run(tmp_path: Path, checkpoint: Path, axes: dict[str, Any], **settings: Any) -> dict[str, dict[str, Any]]:
    """Run on the corpus of the folder. RETURNS: Results by their parts."""
    corpus = tmp_path / "corpus"
    if not corpus.is_dir():
        write_corpus(corpus, ["en", "ru", "zh"])
    defaults = {"languages": ["en"], "targets": ["ru", "zh"], "encoder": str(checkpoint)}
    paths = {"corpus": corpus, **settings.pop("paths", {})}
    experiment = make(TransferRuns, paths, axes, **{**TINY, **defaults, **settings})
    run_experiment(experiment, tmp_path / "out")
    return {"+".join(result["axes"].get("parts", [])): result for result in read_results(tmp_path / "out")}


def test_parts_alone_are_trained_with_equal_steps(checkpoint: Path, tmp_path: Path) -> None:
    parts: list[list[str]] = [[], ["self-training"], ["twice the steps"], ["IOB2"]]
    results = run(tmp_path, checkpoint, {"parts": parts}, steps=4)
    assert set(results) == {"", "self-training", "twice the steps", "IOB2"}
    assert {name: (r["steps"], r["all_steps"]) for name, r in results.items()} == {
        "": (4, 4), "self-training": (4, 8), "twice the steps": (8, 8), "IOB2": (4, 4),
    }  # fmt: skip
    baseline = results[""]
    assert list(baseline["counts"]) == list(baseline["unlabelled"]) == ["", AVERAGE]
    assert set(results["IOB2"]["unlabelled"]) == set(READINGS)
    assert {row["split"] for row in baseline["scores"]} == {"dev"}
    assert {row["language"] for row in baseline["scores"]} == {"en", "ru", "zh"}
    assert len(baseline["source_dev"]) == 2
    titles = [table.title for table in tables_of(tmp_path / "out")]
    assert titles[0] == "What each part brings: F1 on dev sets"
    assert titles[-1].startswith("Rank correlation with F1 over")


def test_no_label_of_a_target_is_trained_on(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def fit(self: Any, run: Any, overrides: dict[str, Any], work: Path, name: str = "") -> Any:
        for path in sorted(Path(overrides["paths.corpus"]).glob("*.spacy")):
            docs = spacy.tokens.DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab)
            seen.append((path.name, sum(len(doc.ents) for doc in docs)))
        raise KeyboardInterrupt

    monkeypatch.setattr(TransferRuns, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint, {"parts": [["self-training"]]})
    assert seen == [("en-gold-train.spacy", 5), ("ru-text-train.spacy", 0), ("zh-text-train.spacy", 0)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_starts(name: str, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "en-ru.txt").write_text("left\tуехала\n", encoding="utf-8")
    # The tiny encoder has two layers.
    changes = {"vars.n_frozen_layers": 1} if name == "frozen 3" else {}
    [result] = run(
        tmp_path, checkpoint, {"parts": [[name]]}, steps=1, epochs=1, targets=["ru"], counts=False,
        paths={"dictionaries": tmp_path}, **changes,
    ).values()  # fmt: skip
    assert result["steps"] == PARTS[name].length
    assert not any(result["counts"].values())


def test_parts_are_put_together() -> None:
    part = combine(["CRF", "head rate", "R-Drop", "subword sampling", "self-training"])
    assert part.settings[HEAD]["learn_rate_factor"] == part.settings["vars.head_rate"] == 10
    assert set(part.objectives) == {"subwords", "r_drop"}
    assert part.is_taught
    assert combine([]).settings["vars.n_frozen_layers"] == 0
    # Putting parts together changes none of them.
    assert "learn_rate_factor" not in PARTS["CRF"].settings[HEAD]
    assert readings(["head rate"], every=False) == [""]
    assert readings([AVERAGE, CONSTRAINED], every=False) == [f"{AVERAGE}+{CONSTRAINED}"]
    assert readings(["CRF", "IOB2"], every=True) == ["", AVERAGE]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"parts": [["head rat"]]}, "XNER808"),
        ({"languages": [[]]}, "XNER809.*no languages"),
        ({"targets": [["en"]]}, "XNER809.*no targets"),
        ({"choose": [3]}, "XNER809.*`choose` is 3, and there are 2"),
        ({"choose": [2]}, "XNER809.*identifiers"),
        ({"parts": [["code-switching"]]}, "XNER809.*dictionaries"),
    ],
)
def test_what_cannot_be_run_is_refused(settings: dict[str, Any], code: str, tmp_path: Path) -> None:
    fixed = {
        "languages": ["en"],
        "targets": ["ru"],
        "candidates": ["en", "zh"] if "choose" in settings else [],
    }
    given = {key: value for key, value in fixed.items() if key not in settings}
    with pytest.raises(XnerError, match=code):
        make(TransferRuns, {"corpus": tmp_path}, settings, **given).plan()


def test_a_target_is_no_source_of_its_own(tmp_path: Path) -> None:
    paths = {"corpus": tmp_path, "identifiers": tmp_path}
    settings = {"languages": ["en", "ru"], "candidates": ["en", "ru", "zh"], "targets": ["de"]}
    plan = make(TransferRuns, paths, {"target": ["en", "ru"]}, **settings).plan()
    assert [(run["targets"], run["languages"], run["candidates"]) for run in plan] == [
        (["en"], ["ru"], ["ru", "zh"]), (["ru"], ["en"], ["en", "zh"]),
    ]  # fmt: skip


def test_a_language_that_is_chosen_is_no_target(tmp_path: Path) -> None:
    paths = {"corpus": tmp_path, "identifiers": tmp_path}
    settings = {"languages": [], "candidates": ["en", "ru", "zh"], "targets": ["ru", "ja"]}
    [run_] = make(TransferRuns, paths, {"choose": [1]}, **settings).plan()
    assert run_["candidates"] == ["en", "zh"]


def test_a_corpus_without_the_languages_of_a_run_is_not_scored(checkpoint: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", ["en", "ru", "zh"])
    write_corpus(tmp_path / "corpus", ["zh"], "pud", splits="test")
    settings = {"targets": ["ru"], "scored": "test", "test_sources": ["pud"], "steps": 4, "counts": False}
    [result] = run(tmp_path, checkpoint, {"parts": [[]]}, **settings).values()
    assert {row["source"] for row in result["scores"]} == {""}


def test_sources_are_chosen_by_the_identifier(checkpoint: Path, tmp_path: Path) -> None:
    identifier = tiny.make_identifier(checkpoint)
    tiny.train_identifier(identifier, 1)
    (tmp_path / "identifiers").mkdir()
    identifier.to_disk(tmp_path / "identifiers" / "identifier")
    paths = {"identifiers": tmp_path / "identifiers"}
    candidates = ["en", "ru", "zh"]
    run(
        tmp_path, checkpoint, {"target": ["zh"], "choose": [1, 2]}, candidates=candidates, labels=4, steps=1,
        epochs=1, languages=[], paths=paths, parts=["head rate"], scored="test",
    )  # fmt: skip
    results = results_of(tmp_path / "out")
    assert [results[f"zh_{n}"]["sentences"] for n in (1, 2)] == [4, 4]
    order = list(results["zh_1"]["nearness"]["zh"])
    assert sorted(order) == ["en", "ru"]
    assert results["zh_1"]["languages"] == order[:1]
    [table] = tables_of(tmp_path / "out")
    assert [row[0] for row in table.rows] == ["1", "2", "nearest"]


def test_sources_are_not_chosen_without_an_identifier(checkpoint: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"candidates": ["en", "ru", "zh"], "languages": []}
    paths = {"identifiers": tmp_path / "none"}
    with pytest.raises(XnerError, match=r"XNER814.*identifier"):
        run(tmp_path, checkpoint, {"target": ["zh"], "choose": [1]}, paths=paths, **settings)


def test_the_pipeline_is_kept_as_the_parts_read_it(checkpoint: Path, tmp_path: Path) -> None:
    paths = {"keep": tmp_path / "keep"}
    [result] = run(tmp_path, checkpoint, {"parts": [[AVERAGE]]}, paths=paths, all_readings=False).values()
    [folder] = (path for path in (tmp_path / "keep").iterdir() if path.is_dir())
    nlp = spacy.load(folder)
    assert nlp.get_pipe("ner").labels
    assert list(result["unlabelled"]) == [AVERAGE]


# Results by hand: right, predicted and gold entities of ten sentences.
def counted(right: int) -> list[tuple[int, int, int]]:
    return [(1, 1, 1)] * right + [(0, 1, 1)] * (10 - right)


def make_run(parts: list[str], f1: dict[str, float], seed: int = 0, **content: Any) -> dict[str, Any]:
    """A result with F1 in tenths by language, the mean of the weights a tenth better."""
    found: dict[str, Any] = {"scores": [], "unlabelled": {}, "counts": {}}
    for reading, more in (("", 0.0), (AVERAGE, 0.1)):
        found["scores"] += [
            {
                "reading": reading,
                "split": "dev",
                "language": lang,
                "source": "",
                "label": "all",
                "f": f + more,
            }
            for lang, f in f1.items()
        ]
        found["unlabelled"][reading] = {lang: {"confidence": f, "density": 1 - f} for lang, f in f1.items()}
        found["counts"][reading] = pack_counts(
            {lang: counted(round(10 * (f + more))) for lang, f in f1.items()}
        )
    settings = {**TransferRuns.defaults, "headline": []}
    outcome = {
        "languages": ["en"], "targets": ["de", "ru"], "sentences": 9, "steps": 400, "all_steps": 400,
        "seconds": 60.0,
    }  # fmt: skip
    axes = {"seed": seed, "parts": parts}
    return make_result("transfer", axes, settings=settings, **{**found, **outcome, "nearness": {}, **content})


def test_recipes_are_named_by_training_and_reading() -> None:
    assert name_recipe([], "") == "plain"
    assert name_recipe(["mix"], "") == "+ mix"
    assert name_recipe(["mix"], AVERAGE) == f"+ mix + {AVERAGE}"
    # The last weights of a training whose teacher had mean ones are another recipe's, which has no name.
    assert name_recipe(["self-training", AVERAGE], "") is None
    assert name_recipe([AVERAGE, "mix"], AVERAGE) == f"+ mix + {AVERAGE}"


def tables_by_hand(tmp_path: Path, runs: list[dict[str, Any]], name: str = "toy") -> dict[str, Any]:
    folder = tmp_path / "results" / "small" / name
    for i, result in enumerate(runs):
        write_result(folder / f"{i}.json", result)
    write_result(
        folder / "experiment.json", {"name": name, "kind": "transfer", "axes": {}, "settings": {}, "runs": 9}
    )
    return {table.title.split(":")[0].split(" of ")[0]: table for table in tables_of(folder)}


def test_gains_have_intervals(tmp_path: Path) -> None:
    runs = [
        make_run([], {"de": 0.2, "ru": 0.4, "en": 0.8}),
        make_run(["mix"], {"de": 0.6, "ru": 0.8, "en": 0.8}),
    ]
    tables = tables_by_hand(tmp_path, runs)
    rows = {row[0]: row[1:] for row in tables["What each part brings"].rows}
    assert list(rows) == ["plain", f"+ {AVERAGE}", "+ mix"]
    assert rows["plain"][3:5] == ["30.0", "–"]
    assert rows["+ mix"][:4] == ["**60.0**", "**80.0**", "80.0", "**70.0**"]
    assert rows["+ mix"][4].startswith("+40.0 (+")
    assert rows["+ mix"][5:] == ["400", "1"]
    assert tables["Mean F1"].rows[0][1:3] == ["30.0", "**40.0**"]


def test_an_interval_is_that_of_the_mean_over_languages() -> None:
    recipes = recipes_of(
        [
            make_run([], {"de": 0.2, "ru": 0.4, "en": 0.8}),
            make_run(["mix"], {"de": 0.3, "ru": 0.3, "en": 0.8}),
        ]
    )
    compared = compare(recipes["+ mix"], recipes["plain"])
    assert compared is not None
    assert compared.difference == pytest.approx(0)
    assert compared.low < 0 < compared.high


def test_without_counts_gains_are_paired_by_seed(tmp_path: Path) -> None:
    runs = [
        make_run(parts, {"de": f, "ru": f, "en": 0.8}, seed, counts={})
        for parts, seed, f in (([], 0, 0.2), ([], 1, 0.3), (["mix"], 0, 0.3), (["mix"], 1, 0.5))
    ]
    rows = {row[0]: row for row in tables_by_hand(tmp_path, runs)["What each part brings"].rows}
    assert rows["+ mix"][5] == "+15.0 (7.1)"


def test_confidence_is_compared_with_f1(tmp_path: Path) -> None:
    runs = [make_run([part], {"de": f, "ru": 1 - f, "en": 0.8}) for part, f in
            (("mix", 0.2), ("IOB2", 0.4), ("CRF", 0.6), ("R-Drop", 0.8))]  # fmt: skip
    for result in runs:
        del result["unlabelled"][AVERAGE]
        result["unlabelled"][""]["ru"]["confidence"] = result["unlabelled"][""]["de"]["confidence"]
    table = tables_by_hand(tmp_path, runs)["Rank correlation with F1 over 4 recipes,"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["de"][:4] == ["1.00", "-1.00", "+ R-Drop", "80.0"]
    # For the other language it prefers the worst recipe.
    assert rows["ru"][:6] == ["-1.00", "-1.00", "+ R-Drop", "20.0", "+ mix", "80.0"]
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None


def test_final_runs_stand_beside_published_rows(tmp_path: Path) -> None:
    published = tmp_path / "results" / "published" / "final.json"
    table = {"title": "F1", "header": ["", "de", "ru", "yo"], "rows": [["Base", "50.0", "60.0", "–"]]}
    write_result(published, {"origin": "published in a paper", "tables": [table]})
    runs = [make_run(["mix"], {"de": f, "ru": 0.7, "en": 0.8}, seed) for seed, f in enumerate((0.4, 0.6))]
    tables = tables_by_hand(tmp_path, runs, "final")
    beside = tables["Test F1 beside published rows"]
    assert beside.header[-1] == "mean of de ru"
    assert beside.rows == [
        ["Base", "50.0", "60.0", "–", "55.0"], ["+ mix", "50.0 (14.1)", "70.0 (0.0)", "–", "60.0 (7.1)"],
    ]  # fmt: skip
    difference = next(table for title, table in tables.items() if title.startswith("Difference"))
    assert difference.rows == [["Base", "+0.0", "+10.0", "–", "+5.0"]]


def test_other_corpora_have_tables_of_their_own(checkpoint: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", ["en", "ru", "zh"])
    write_corpus(tmp_path / "corpus", ["ru"], "news", splits="test")
    run(
        tmp_path, checkpoint, {"parts": [[]]}, sources=["toy"], test_sources=["news"], scored="test", steps=1,
        epochs=1,
    )  # fmt: skip
    tables = {table.title: table for table in tables_of(tmp_path / "out")}
    assert tables["F1 on news"].header == ["", "ru"]


def test_sources_are_ranked_beside_their_f1(tmp_path: Path) -> None:
    nearness = {"de": {"en": 0.7, "ru": 0.2, "zh": 0.1, "yo": 0.0}}
    runs = []
    for source, f in (("en", 0.5), ("ru", 0.6), ("zh", 0.2), ("yo", 0.1)):
        result = make_run([], {"de": f}, languages=[source], targets=["de"], nearness=nearness)
        result["settings"]["candidates"] = ["de", *nearness["de"]]
        result["axes"] = {"languages": [source], "seed": 0}
        runs.append(result)
    tables = tables_by_hand(tmp_path, runs)
    [row] = tables["Sources ranked by the identifier's vectors, and by F1"].rows
    assert row == ["de", "0.80", "en", "50.0", "ru", "60.0", "50.0"]
    assert tables["F1 from one source"].rows[0] == ["en", "50.0"]


def test_the_preset_names_what_exists() -> None:
    config = read_config(PRESET)
    assert set(config["experiments"]) == {
        "screening", "supervised", "best", "final", "identifier", "sources", "choice",
    }  # fmt: skip
    for experiment in read_experiments(PRESET):
        assert experiment.plan()
    parts = {name for listed in config["experiments"]["screening"]["axes"]["parts"] for name in listed}
    # The rest is read off the same trainings.
    assert set(PARTS) - parts == {AVERAGE, CONSTRAINED}


def test_published_rows_have_every_column() -> None:
    [table] = read_json(PRESET.parent / "results" / "published" / "final.json")["tables"]
    assert {len(row) for row in table["rows"]} == {len(table["header"])}
    assert all(0 < float(f) < 100 for row in table["rows"] for f in row[1:])
