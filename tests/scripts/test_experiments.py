"""Every kind of experiment, trained for real on a tiny encoder and a few sentences."""

import math
from pathlib import Path
from typing import Any

import numpy
import pytest
import spacy
from spacy.vectors import Vectors

from spacy_xner.errors import XnerError
from spacy_xner.files import read_json, write_json
from spacy_xner.routes.settings import learn_from_text
from spacy_xner.vectors.words import key_of

from scripts.clusters import Clusters
from scripts.corpora import Corpora
from scripts.joint import Joint
from scripts.lexical import Lexical
from scripts.overrides import Fitted, Trained, schedule
from scripts.results import read_results, unpack_counts
from scripts.runner import Run, Settings, run_experiment
from scripts.sections import experiment_sections
from scripts.spaces import count_lengths, place_words
from scripts.students import Students
from scripts.teachers import Teachers
from scripts.variants import RECIPES, VARIANTS, ZERO_RESOURCE
from scripts.views import tables_of
from scripts.zero_shot import ZeroShot
from tests.scripts.corpora import SENTENCES, write_corpus

# Windows of the tiny transformer have room for fewer pieces than those of a real one.
SMALL = {"batch_size": 4, "components.ner.model.tok2vec.overlap": 8}


def make(
    kind: type[Trained], paths: dict[str, Path], axes: dict[str, Any], exclude: Any = (), **settings: Any
) -> Any:
    section = {"axes": axes, "settings": settings, "exclude": list(exclude)}
    return kind("toy", section, paths, gpu=-1, precision="float32")


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {"_".join(str(value) for value in r["axes"].values()): r for r in read_results(folder)}


def run_of(**settings: Any) -> Run:
    return Run({}, {"epochs": 3, "steps": 0, "max_steps": 0, "max_passes": 0, **settings})


@pytest.mark.parametrize(
    ("settings", "n_scored", "steps", "frequency"),
    [
        ({}, 3, 30, 10), ({}, 1, 30, 30), ({"max_steps": 7}, 1, 7, 7), ({"steps": 100}, 3, 99, 33),
        ({"steps": 1000, "max_passes": 60}, 1, 600, 600), ({"steps": 1}, 3, 1, 1),
        ({"steps": 100, "warmup": 0.1}, 1, 100, 100),
    ],
)  # fmt: skip
def test_the_length_of_a_run_is_in_epochs_or_steps(
    settings: Settings, n_scored: int, steps: int, frequency: int
) -> None:
    overrides = schedule(run_of(**settings), 10, n_scored=n_scored)
    assert overrides["training.max_steps"] == overrides["vars.total_steps"] == steps
    assert overrides["vars.eval_frequency"] == frequency
    assert overrides.get("vars.warmup") == settings.get("warmup")


def test_targets_have_no_labels() -> None:
    with pytest.raises(XnerError, match="XNER642"):
        learn_from_text(["en", "de"], ["de", "sw"], {})


def test_joint_runs_train_on_all_languages_or_one(checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en", "ru", "zh"])
    axes = {"trained_on": ["all", "en"], "frozen": [-1, 2]}
    experiment = make(
        Joint, {"corpus": corpus}, axes, [{"trained_on": "en", "frozen": 2}], languages=["en", "ru"],
        targets=["zh"], encoder=str(checkpoint), epochs=2, **SMALL,
    )  # fmt: skip
    run_experiment(experiment, tmp_path / "out")
    results = results_of(tmp_path / "out")
    assert set(results) == {"all_-1", "all_2", "en_-1"}
    frozen = results["all_2"]
    assert (frozen["languages"], frozen["sentences"], frozen["steps"]) == (["en", "ru"], 8, 4)
    tests = {row["language"] for row in frozen["scores"] if row["split"] == "test"}
    assert tests == {"en", "ru", "zh"}
    assert [set(epoch["languages"]) for epoch in frozen["curve"]] == [{"en", "ru", "zh"}] * 2
    assert results["en_-1"]["sentences"] == 4
    [section] = experiment_sections(tmp_path)
    assert section.title == "Joint, monolingual and frozen runs: out"
    assert [row[-1] for row in section.tables[0].rows] == ["4", "4", "2"]
    assert all(figure.startswith("<svg") for figure in section.figures.values())
    settings = {"languages": ["en", "ru"], "targets": ["zh"], "encoder": str(checkpoint), "epochs": 2}
    changed = make(Joint, {"corpus": corpus}, axes, limit=1, **settings, **SMALL)
    with pytest.raises(XnerError, match=r"XNER807.*limit"):
        run_experiment(changed, tmp_path / "out")


def test_zero_shot_runs_learn_from_the_targets_text(checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en", "ru", "zh"])
    axes = {"objectives": ["ML", "PC+LI", "ST"], "weight": [0.5, 1.0]}
    experiment = make(
        ZeroShot, {"corpus": corpus}, axes, [{"objectives": ["PC+LI", "ST"], "weight": 1.0}],
        languages=["en"], targets=["ru", "zh"], encoder=str(checkpoint), epochs=2, frozen=-1,
        **{**SMALL, "batch_size": 1},
    )  # fmt: skip
    run_experiment(experiment, tmp_path / "out")
    results = results_of(tmp_path / "out")
    # Without objectives there is no weight.
    assert set(results) == {"ML_0.0", "PC+LI_0.5", "ST_0.5"}
    both = results["PC+LI_0.5"]
    assert (both["targets"], len(both["curve"])) == (["ru", "zh"], 2)
    assert set(both["curve"][1]["losses"]) == {"ner", "ner_predictive_cloze", "ner_language_id"}
    assert both["curve"][1]["losses"]["ner_language_id"] > 0
    assert both["curve"][1]["languages"]["ru"]["agreement"] is not None
    assert both["risks"]["ru"]["fertility"] > 1
    # Every batch of labels takes one of text along into its step.
    assert (results["ML_0.0"]["steps"], both["steps"]) == (8, 8)
    # The epoch before self-training starts cannot be selected.
    assert len(results["ST_0.5"]["curve"]) == 1
    [section] = experiment_sections(tmp_path / "out")
    assert section.title == "Zero-shot transfer: toy"
    assert len(section.tables) == 6


def test_a_held_out_language_is_the_target(tmp_path: Path) -> None:
    axes = {"held_out": ["en", "ru"]}
    plan = make(ZeroShot, {"corpus": tmp_path}, axes, languages=["en", "ru", "zh"]).plan()
    assert [(run["languages"], run["targets"]) for run in plan] == [
        (["ru", "zh"], ["en"]),
        (["en", "zh"], ["ru"]),
    ]


class Recorded(ZeroShot):
    """An experiment that keeps the overrides of its runs, and trains nothing."""

    def fit(self, run: Run, overrides: Settings, work: Path, name: str = "trained") -> Fitted:
        self.overrides = overrides
        return Fitted(work, [{"step": 1, **EVALUATION}], 0.0)


EVALUATION = {
    "score": 0.5, "losses": {},
    "watch": {
        split: {"ents_per_language": {lang: {"f": 0.5} for lang in ("en", "ru", "zh")},
                "unlabelled": {lang: {} for lang in ("en", "ru", "zh")}}
        for split in ("dev", "test")
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "languages", "window"),
    [
        ({"held_out": "ru", "head_steps": 7, "window": 64}, "all", 64),
        ({"targets": ["ru", "zh"], "languages": ["en"], "head_steps": 9}, None, None),
    ],
)
def test_settings_of_objectives_reach_the_config(
    settings: Settings, languages: str | None, window: int | None, checkpoint: Path, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en", "ru", "zh"])
    given = {"languages": ["en", "ru", "zh"], "encoder": str(checkpoint), "objectives": "CL+LI", **settings}
    experiment = make(Recorded, {"corpus": corpus}, {}, **given)
    [run] = experiment.plan()
    experiment.train(run, tmp_path)
    objectives = experiment.overrides["components.ner.objectives"]
    assert objectives["cloze"]["head_steps"] == settings["head_steps"]
    # A single language without labels is told from those with labels.
    assert objectives["language_id"].get("languages") == languages
    assert experiment.overrides.get("components.ner.model.tok2vec.window") == window
    assert experiment.overrides.get("components.ner.model.tok2vec.overlap") == (8 if window else None)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"objectives": "ML+XX", "targets": ["ru", "zh"]}, "XNER808"),
        ({"objectives": "ST", "targets": ["ru"], "epochs": 1}, "XNER809.*ST"),
        ({"targets": []}, "XNER809.*targets"),
    ],
)
def test_runs_that_cannot_be_are_refused_before_any_starts(settings: Settings, code: str) -> None:
    with pytest.raises(XnerError, match=code):
        make(ZeroShot, {"corpus": Path()}, {}, languages=["en"], **settings).plan()


@pytest.fixture(scope="module")
def groupings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three groupings, two of which share the cluster of one language."""
    folder = tmp_path_factory.mktemp("groupings")
    clusters = {
        "found": {"west": ["en", "ru"], "east": ["zh"]},
        "everything": {"all": ["en", "ru", "zh"]},
        "monolingual": {"en": ["en"], "ru": ["ru"], "zh": ["zh"]},
    }
    for name, content in clusters.items():
        write_json(folder / f"{name}.json", {"name": name, "clusters": content})
    return [str(folder / f"{name}.json") for name in clusters]


def names(plan: list[Run]) -> list[str]:
    return [run.name for run in plan]


def test_clusters_are_planned_by_their_languages(groupings: list[str], tmp_path: Path) -> None:
    corpus = {"corpus": write_corpus(tmp_path, ["en", "ru", "zh"])}
    axes = {"seed": [0, 1], "grouping": groupings}
    plan = make(Clusters, corpus, axes, [{"seed": 1, "grouping": groupings[1:]}]).plan()
    assert names(plan) == [
        "seed=0_trained_on=en+ru", "seed=0_trained_on=zh", "seed=0_trained_on=en+ru+zh",
        "seed=0_trained_on=en", "seed=0_trained_on=ru", "seed=1_trained_on=en+ru", "seed=1_trained_on=zh",
    ]  # fmt: skip
    zero_shot = make(Clusters, corpus, {"seed": [0]}, grouping=groupings[0], held_out=["ru", "zh"]).plan()
    assert names(zero_shot) == ["seed=0_trained_on=en_tested_on=ru"]
    write_corpus(tmp_path, ["en"], "ewt")
    names_of = ["cluster", "other", "all-combined", "cluster-combined"]
    combined = make(
        Clusters, corpus, {"combination": names_of}, grouping=groupings[0], sources=["toy"], other="ewt"
    ).plan()
    assert [(run["trained_on"], run["sources"]) for run in combined] == [
        (["en", "ru"], ["toy"]), (["en"], ["ewt"]), (["en", "ru", "zh"], ["toy", "ewt"]),
        (["en", "ru"], ["toy", "ewt"]),
    ]  # fmt: skip
    assert {(*run["tested_on"], *run["test_sources"]) for run in combined} == {("en", "ewt")}
    with pytest.raises(XnerError, match="XNER808"):
        make(Clusters, corpus, {"combination": ["all"]}, grouping=groupings[0], other="ewt").plan()


def test_clusters_without_another_language_leave_zero_shot_runs_out(
    groupings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = {"corpus": write_corpus(tmp_path, ["en", "ru", "zh"])}
    held_out = ["en", "ru", "zh"]
    experiment = make(Clusters, corpus, {"seed": [0]}, grouping=groupings[0], held_out=held_out)
    assert not make(Clusters, corpus, {"seed": [0]}, grouping=groupings[0]).obstacle()
    run_experiment(experiment, tmp_path / "out")
    assert "no other language to train on" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out").exists()


def test_taggers_of_the_first_grouping_are_kept(
    groupings: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    paths = {"corpus": write_corpus(tmp_path / "corpus", ["en", "ru", "zh"]), "keep": tmp_path / "kept"}
    settings = {"encoder": str(checkpoint), "frozen": 1, "window": 150, "max_steps": 3, **SMALL}
    experiment = make(Clusters, paths, {"seed": [0, 1], "grouping": groupings[:2]}, **settings)
    run_experiment(experiment, tmp_path / "out")
    results = results_of(tmp_path / "out")
    assert set(results) == {f"{seed}_{langs}" for seed in (0, 1) for langs in (
        ["en", "ru"], ["zh"], ["en", "ru", "zh"])}  # fmt: skip
    everything = results["0_['en', 'ru', 'zh']"]
    assert everything["steps"] == 3
    counts = numpy.concatenate([unpack_counts(packed) for packed in everything["counts"].values()])
    assert counts[:, 2].sum() == 3 * sum(len(spans) for _, spans in SENTENCES)
    assert kept_in(tmp_path / "kept") == ["east", "west"]
    kept = spacy.load(tmp_path / "kept" / "west")
    assert kept.get_pipe("ner").clusters == ["west"]
    [section] = experiment_sections(tmp_path)
    assert {"Groupings", "Test F1 by language and grouping"} <= {table.title for table in section.tables}
    # A restart with other clusters leaves none of the old ones.
    renamed = tmp_path / "renamed.json"
    write_json(renamed, {"name": "renamed", "clusters": {"north": ["en", "ru", "zh"]}})
    again = make(Clusters, paths, {"seed": [0]}, grouping=str(renamed), **settings)
    run_experiment(again, tmp_path / "out", restart=True)
    assert kept_in(tmp_path / "kept") == ["north"]


def kept_in(folder: Path) -> list[str]:
    """Names of pipelines; lock files may lie beside them."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_students_go_on_from_teachers(checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en", "ru"])
    for domain in ("news", "talk"):
        write_corpus(tmp_path / "silver", ["ru"], domain, splits="train")
    paths = {"corpus": corpus, "silver": tmp_path / "silver", "teachers": tmp_path / "teachers"}
    small = {"encoder": str(checkpoint), **SMALL}
    recipes = ["zero-shot", *RECIPES]
    axes = {"recipe": recipes, "domains": ["news", "news+talk"]}
    students = make(Students, paths, axes, [{"recipe": list(RECIPES)[5:], "domains": "news+talk"}],
                    language="ru", frozen=2, amount=6, fresh_epochs=2, **small)  # fmt: skip
    with pytest.raises(XnerError, match=r"XNER814.*teachers"):
        run_experiment(students, tmp_path / "out")
    teachers = make(Teachers, paths, {"seed": [0]}, languages=["en"], frozen=-1, epochs=1, **small)
    run_experiment(teachers, tmp_path / "teaching")
    run_experiment(students, tmp_path / "out")
    results = results_of(tmp_path / "out")
    assert len(results) == 1 + 5 * 2 + 4
    # Two domains share the six sentences, the third batch of a mixture is the gold one's.
    assert results["sequential RW_news+talk"]["sentences"] == 6
    assert results["sequential RW_news"]["sentences"] == 4
    assert results["mixed CE_news+talk"]["sentences"] == 6 + 4
    assert results["sequential CE_news"]["steps"] == 1
    assert results["mixed CE_news+talk"]["steps"] == 2 * math.ceil(10 / 4)
    assert {row["source"] for row in results["zero-shot_"]["scores"]} == {"toy"}
    assert {row["split"] for row in results["zero-shot_"]["scores"]} == {"dev", "test"}
    assert len(experiment_sections(tmp_path)) == 2
    # Another projection makes other students.
    write_corpus(tmp_path / "silver", ["ru"], "news", copies=2, splits="train")
    with pytest.raises(XnerError, match=r"XNER807.*silver"):
        _without_memory(students, tmp_path / "out")
    (tmp_path / "silver" / "ru-talk-train.spacy").unlink()
    with pytest.raises(XnerError, match=r"XNER814.*ru-talk"):
        students.inputs(students.plan()[-5])
    with pytest.raises(XnerError, match="XNER808"):
        make(Students, paths, {}, language="ru", recipe="sequentail").plan()


def _without_memory(experiment: Any, out: Path) -> None:
    """Run as another process would: fingerprints are remembered by path."""
    from spacy_xner.files import fingerprint

    fingerprint.cache_clear()
    run_experiment(experiment, out)


def write_vectors(folder: Path) -> Path:
    """Write a pipeline with random vectors of all words."""
    nlp = spacy.blank("xx")
    words = sorted({word.lower() for text, _ in SENTENCES for word in text.split()})
    if folder.suffix in (".unmapped", ".random"):
        words = [key_of(word, language) for language in ("en", folder.stem) for word in words]
    data = numpy.random.default_rng(0).normal(size=(len(words), 4)).astype("float16")
    keys = [nlp.vocab.strings.add(word) for word in words]
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    folder.mkdir(parents=True)
    nlp.to_disk(folder)
    return folder


def test_a_tagger_is_trained_without_each_of_its_parts(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en", "es"], copies=3)
    for source in ("toy.es", "toy.shuffled", "toy.es.shuffled"):
        write_corpus(tmp_path / "corpus", ["en"], source, copies=3, splits="train")
    for name in ("en", "es", "es.unmapped", "es.random"):
        write_vectors(tmp_path / "vectors" / name)
    paths = {"corpus": corpus, "vectors": tmp_path / "vectors", "keep": tmp_path / "kept"}
    lexical = make(
        Lexical, paths, {"seed": [0], "variant": list(VARIANTS)}, target="es", source="toy", epochs=2,
        hidden=8, characters=8, batch_size=4, refresh_every=1, kept="cross-augmented",
        bases=["cross-word no characters", "cross-shared"], max_quantile=0.5,
    )  # fmt: skip
    run_experiment(lexical, tmp_path / "results" / "out")
    results = {result["axes"]["variant"]: result for result in read_results(tmp_path / "results" / "out")}
    assert set(results) == set(VARIANTS)
    assert (results["full"]["sentences"], results["no translation"]["sentences"]) == (24, 12)
    assert {len(result["curve"]) for result in results.values()} == {2}
    assert results["supervised"]["languages"] == ["es"]
    sizes = {name: results[name]["parameters"] for name in ZERO_RESOURCE}
    assert sizes["cross-shared"] < sizes["cross-word"] < sizes["cross-augmented"]
    assert sizes["cross-word no characters"] < sizes["cross-word"] == sizes["random"]
    augmented = results["cross-augmented"]
    assert augmented["curve"][-1]["losses"]["ner_augmented"] > 0
    # The two lengths up to the median of 4, 5, 6 and 6 tokens admit a quarter and a half.
    assert augmented["admitted"] == pytest.approx(0.375)
    assert augmented["base"] == results["cross-shared again"]["base"]
    best = {
        name: max(epoch["source_dev"] for epoch in results[name]["curve"])
        for name in ("cross-shared", "cross-word no characters")
    }
    assert augmented["base"] == max(best, key=best.__getitem__)
    # Two passes of labels before, then two more with a batch of text beside each.
    steps = {
        name: results[name]["steps"] for name in ("cross-shared", "cross-shared again", "cross-augmented")
    }
    assert steps == {"cross-shared": 6, "cross-shared again": 12, "cross-augmented": 12}
    encoder = spacy.load(tmp_path / "kept" / "es").get_pipe("ner").model.get_ref("tok2vec")
    assert encoder.shims[0].cfg["targets"] == ["es"]
    assert list(results["full"]["inputs"]["made_of"]) == ["vectors", "en-toy-train", "en-toy.es-train"]
    _look_into(paths, tmp_path / "results" / "out" / "figures")
    [section] = experiment_sections(tmp_path / "results")
    assert list(section.figures) == ["Test F1 after every evaluation", "lengths", "words-es"]
    assert "es: test F1 by what chooses the epoch" in {table.title for table in section.tables}
    _choose_settings(paths, tmp_path / "starts")
    with pytest.raises(XnerError, match=r"XNER814.*vectors merge"):
        make(Lexical, paths, {}, target="de", source="toy").plan()
    for wrong in ({"variant": "fulll"}, {"start": "loud"}, {"optimizer": "Adam"}):
        with pytest.raises(XnerError, match="XNER808"):
            make(Lexical, paths, {}, target="es", **wrong).plan()


def _choose_settings(paths: dict[str, Path], out: Path) -> None:
    """Run with the papers' rates, and score dev sets alone."""
    axes = {"seed": [0], "optimizer": ["sgd", "adam"], "start": ["paper", "scaled"]}
    settings = {"target": "es", "source": "toy", "variant": "no translation", "batch_size": 4}
    settings |= {"splits": ["dev"], "epochs": 3, "patience": 1, "hidden": 8, "characters": 8}
    lexical = make(Lexical, paths, axes, **settings, learn_rate=0.1, per_sentence=True)
    run_experiment(lexical, out)
    assert {tuple(epoch["languages"]["es"]) for r in read_results(out) for epoch in r["curve"]} == {("dev",)}
    [table] = tables_of(out)
    assert [row[0] for row in table.rows] == ["adam, paper", "adam, scaled", "sgd, paper", "sgd, scaled"]
    assert list(table.header) == ["", "es: source dev", "es: target dev"]


def test_rates_for_sentences_become_rates_for_tokens(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en"])
    lengths = [len(sentence[0].split()) for sentence in SENTENCES]
    lexical = make(Lexical, {"corpus": corpus, "vectors": tmp_path}, {}, target="es", source="toy")
    run = Run({}, lexical.defaults | {"limit": 0, "learn_rate": 0.01, "clip": 5.0, "per_sentence": True})
    rates = lexical._rates(run, "en", ["toy"])
    mean = sum(lengths) / len(lengths)
    assert rates["vars.learn_rate"] == pytest.approx(0.01 * mean)
    assert rates["vars.clip"] == pytest.approx(5 / mean)
    run = Run({}, lexical.defaults | {"limit": 0, "learn_rate": 0.01})
    assert lexical._rates(run, "en", ["toy"]) == {"vars.learn_rate": 0.01, "vars.clip": 0.0}


def _look_into(paths: dict[str, Path], figures: Path) -> None:
    """Make what Figures 2 and 3 of Bari et al. are drawn from, and check it."""
    corpus, vectors = paths["corpus"], paths["vectors"]
    count_lengths(paths["keep"], corpus, figures / "lengths.json", ["toy"])
    counts = read_json(figures / "lengths.json")["es"]
    # Three copies of each sentence, which have 4 to 6 tokens, and 3 + 2 + 0 + 1 words in entities.
    assert {end: n for end, (_, n) in counts.items() if n} == {"5": 6, "10": 12}
    before = vectors / "es.unmapped"
    place_words(paths["keep"] / "es", corpus, figures / "words-es.json", ["en", "es"], ["toy"], before=before)
    points = read_json(figures / "words-es.json")
    assert list(points) == ["not mapped", "mapped", "as read"]
    assert {(p["language"], p["label"]) for p in points["as read"]} == {
        (lang, label) for lang in ("en", "es") for label in ("PER", "LOC", "ORG")
    }


def test_a_corpus_is_left_out_with_what_was_annotated_by_it(checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["en", "ru"], "wikiann")
    write_corpus(corpus, ["en"], "web")
    write_corpus(corpus, ["ru"], "ntrex", splits="train")
    write_corpus(corpus, ["en", "ru"], "pud", splits="test")
    experiment = make(
        Corpora, {"corpus": corpus}, {"held_out": ["*", "", "web", "aqmar"]},
        corpora=["wikiann", "web", "ntrex", "aqmar"], projected=["ntrex"], taught=["web"],
        tests=["wikiann", "web", "pud"], encoder=str(checkpoint), steps=2, epochs=1, **SMALL,
    )  # fmt: skip
    run_experiment(experiment, tmp_path / "out")
    results = results_of(tmp_path / "out")
    assert {name: result["learnt"] for name, result in results.items()} == {
        "*": ["wikiann"],
        "": ["wikiann", "web", "ntrex", "aqmar"],
        "web": ["wikiann", "aqmar"],
    }
    # Other sentences by the same names make another run; a corpus that is not there makes none.
    assert {"en-web-train", "ru-ntrex-train", "en-pud-test"} < set(results[""]["inputs"]["made_of"])
    assert {name: result["sentences"] for name, result in results.items()} == {"*": 8, "": 16, "web": 8}
    rows = {(row["source"], row["language"]) for row in results["web"]["scores"]}
    assert rows >= {("pud", ""), ("pud", "en"), ("pud", "ru"), ("web", "en"), ("wikiann", "")}
    [section] = experiment_sections(tmp_path / "out")
    table, by_language = section.tables
    assert [row[0] for row in table.rows] == ["web", "pud", "mean"]
    # Nothing of a corpus for tests alone is ever learnt.
    assert [row[3] for row in table.rows] == [table.rows[0][3], "–", ""]
    assert [row[-1] for row in table.rows] == ["5", "10", ""]
    assert {row[0] for row in by_language.rows} == {"web en", "pud en", "pud ru"}
    with pytest.raises(XnerError, match=r"XNER808.*held_out"):
        make(Corpora, {"corpus": corpus}, {"held_out": ["wab"]}, corpora=["web"], tests=["web"]).plan()
