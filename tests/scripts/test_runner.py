"""Plans, locks, and results that are never mixed up."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from spacy_xner.errors import XnerError
from spacy_xner.files import read_json, write_json
from spacy_xner.runs import claim

from scripts.experiment import read_config, read_experiments, run_config
from scripts.runner import Experiment, Run, Settings, is_done, run_experiment


class Toy(Experiment):
    """An experiment whose training takes no time."""

    kind = "toy"
    defaults = {"seed": 0, "decay": 0.7, "size": 1, "languages": [], "frozen": 0, "name": ""}  # noqa: RUF012
    trained: list[str]

    def expand(self, settings: Settings) -> Iterable[Settings]:
        yield {**settings, "decay": 0.0} if settings["size"] == 0 else settings

    def place(self, run: Run) -> Path | None:
        return self.paths["keep"] / str(run["seed"]) if "keep" in self.paths else None

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        assert not list(work.iterdir())
        (work / "kept").mkdir()
        (work / "kept" / "config.cfg").touch()
        self.trained.append(run.name)
        return {"steps": 1}


def make(
    axes: dict[str, Any], exclude: Any = (), paths: dict[str, Path] | None = None, **settings: Any
) -> Toy:
    section = {"axes": axes, "settings": settings, "exclude": list(exclude)}
    toy = Toy("toy", section, paths or {"corpus": Path()}, gpu=-1, precision="float32")
    toy.trained = []
    return toy


def names(toy: Experiment) -> list[str]:
    return [run.name for run in toy.plan()]


def test_a_plan_is_the_product_of_its_axes_the_first_one_slowest() -> None:
    plan = names(make({"seed": [0, 1], "decay": [0.5, 1.0]}))
    assert plan == ["seed=0_decay=0.5", "seed=0_decay=1", "seed=1_decay=0.5", "seed=1_decay=1"]


def test_what_is_excluded_or_means_the_same_is_not_run() -> None:
    axes = {"seed": [0, 1], "frozen": [0, 3], "languages": [["de", "en"], ["de"]]}
    rules = [{"languages": ["de"], "frozen": [3, 6]}, {"seed": 1, "frozen": 0}]
    assert names(make(axes, rules)) == [
        "seed=0_frozen=0_languages=de+en",
        "seed=0_frozen=0_languages=de",
        "seed=0_frozen=3_languages=de+en",
        "seed=1_frozen=3_languages=de+en",
    ]
    # A size of 0 has no decay.
    assert len(make({"size": [0, 1], "decay": [0.1, 0.2]}).plan()) == 1 + 2
    with pytest.raises(XnerError, match="XNER810"):
        make({"seed": [0]}, [{"seed": 0}]).plan()


def test_names_are_safe_and_as_long_as_files_may_be() -> None:
    long = ["-".join("abc")] * 90
    for value in ("../../x", "sequential RW", "a/b"):
        assert "/" not in names(make({"name": [value]}))[0]
    a, b = names(make({"languages": [long, [*long, "d"]]}))
    assert a != b
    assert max(len(a), len(b)) < 200
    assert names(make({"training.dropout": [0.1, 0.2]})) == ["dropout=0.1", "dropout=0.2"]
    assert names(make({})) == ["run"]


@pytest.mark.parametrize(
    ("axes", "settings", "code"),
    [
        ({"sede": [0]}, {}, "XNER802"), ({}, {"sede": 0}, "XNER802"), ({"seed": 0}, {}, "XNER803"),
        ({"seed": []}, {}, "XNER803"),
    ],
)  # fmt: skip
def test_wrong_settings_and_axes_are_refused(axes: Any, settings: Any, code: str) -> None:
    with pytest.raises(XnerError, match=code):
        make(axes, **settings)
    with pytest.raises(XnerError, match="XNER802"):
        make({"seed": [0]}, [{"sede": 0}])


def test_missing_paths_and_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(XnerError, match=r"XNER804.*paths\.corpus"):
        Toy("toy", {}, {}, gpu=-1, precision="float32")
    monkeypatch.setattr(Toy, "required", ("languages",))
    with pytest.raises(XnerError, match=r"XNER804.*languages"):
        make({"seed": [0]})
    assert make({}, languages=["de"]).plan()


def test_finished_runs_are_left_and_others_resumed(tmp_path: Path) -> None:
    toy = make({"seed": [0, 1, 2]})
    with FileLock(_made(tmp_path / ".locks") / "seed=1.json.lock"):
        run_experiment(toy, tmp_path)
    assert toy.trained == ["seed=0", "seed=2"]
    # A file of a process that died.
    (_made(tmp_path / ".work" / "seed=1") / "half").touch()
    run_experiment(toy, tmp_path)
    assert toy.trained == ["seed=0", "seed=2", "seed=1"]
    result = read_json(tmp_path / "seed=1.json")
    assert (result["axes"], result["settings"]["decay"], result["steps"]) == ({"seed": 1}, 0.7, 1)
    assert {"cpu", "instruction_sets", "n_threads"} <= set(result["machine"])
    assert set(result["versions"]) == {"spacy_xner", "spacy", "torch", "transformers"}
    described = read_json(tmp_path / "experiment.json")
    assert (described["kind"], described["axes"], described["runs"]) == ("toy", {"seed": [0, 1, 2]}, 3)
    assert not list((tmp_path / ".work").iterdir())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_run_without_its_pipeline_is_not_finished(tmp_path: Path) -> None:
    toy = make({"seed": [0]}, paths={"corpus": Path(), "keep": tmp_path / "kept"})
    for _ in range(2):
        run_experiment(toy, tmp_path / "out")
    assert toy.trained == ["seed=0"]
    (tmp_path / "kept" / "0" / "config.cfg").unlink()
    (tmp_path / "kept" / "0").rmdir()
    run_experiment(toy, tmp_path / "out")
    assert toy.trained == ["seed=0"] * 2


def test_other_settings_kinds_and_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_experiment(make({"seed": [0]}), tmp_path)
    with pytest.raises(XnerError, match=r"XNER807.*'decay': \(0.7, 0.6\)"):
        run_experiment(make({"seed": [0]}, decay=0.6), tmp_path)
    changed = make({"seed": [0]}, decay=0.6)
    run_experiment(changed, tmp_path, restart=True)
    assert changed.trained == ["seed=0"]
    (tmp_path / "seed=0.json").write_text("[]")
    with pytest.raises(XnerError, match="XNER806"):
        run_experiment(changed, tmp_path)
    monkeypatch.setattr(Toy, "kind", "other")
    with pytest.raises(XnerError, match="XNER805"):
        run_experiment(make({"seed": [0]}), tmp_path)


def test_settings_are_compared_to_the_last_digit(tmp_path: Path) -> None:
    run, path = Run({"seed": 1}, {"seed": 1, "learn_rate": 0.3}), tmp_path / "run.json"
    assert not is_done(path, run, {}, {})
    write_json(path, {"axes": {"seed": 1}, "settings": {"learn_rate": 0.3}, "inputs": {}})
    assert is_done(path, run, {}, {})
    for settings in ({"learn_rate": 0.30000000000000004}, {}, {"learn_rate": 0.3, "floor": 0.1}):
        with pytest.raises(XnerError, match="XNER807"):
            is_done(path, Run({"seed": 1}, {"seed": 1, **settings}), {}, {})
    with pytest.raises(XnerError, match="XNER807"):
        is_done(path, run, {"corpus": "another"}, {})
    # A setting that is younger than the result had its default.
    younger = Run({"seed": 1}, {**run.settings, "floor": 0.0})
    assert is_done(path, younger, {}, {"floor": 0.0})


def test_locks_are_held_by_one_and_left_by_the_dead(tmp_path: Path) -> None:
    with claim(tmp_path / "a.json") as first, claim(tmp_path / "a.json") as second:
        assert (first, second) == (True, False)
    (tmp_path / ".locks" / "b.json.lock").write_text("99999999")
    with claim(tmp_path / "b.json") as is_free:
        assert is_free


CONFIG = """
[vars]
frozen = [0, 3]

[paths]
corpus = "nowhere"

[experiments]

[experiments.first]
kind = "joint"

[experiments.first.axes]
seed = [0, 1]
frozen = ${vars.frozen}

[experiments.first.settings]
languages = ["de"]
targets = ["en"]
"""


def test_a_config_has_experiments_and_takes_overrides(tmp_path: Path) -> None:
    path = tmp_path / "small.cfg"
    path.write_text(CONFIG)
    [experiment] = read_experiments(path, {"vars.frozen": [6], "experiments.first.settings.limit": 7})
    assert names(experiment) == ["seed=0_frozen=6", "seed=1_frozen=6"]
    assert experiment.plan()[0]["limit"] == 7
    assert experiment.plan()[0]["encoder"] == "multilingual-e5-small"
    with pytest.raises(XnerError, match="XNER808"):
        run_config(path, tmp_path / "out", only=["second"])
    with pytest.raises(XnerError, match="XNER808"):
        read_experiments(path, {"experiments.first.settings.trained_on": "fr"})[0].plan()


@pytest.mark.parametrize("content", ["[paths]\n", CONFIG.replace('"joint"', '"jiont"')])
def test_configs_of_other_things_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.cfg").write_text(content)
    with pytest.raises(XnerError, match="XNER801"):
        read_experiments(tmp_path / "x.cfg")
    if "experiments" in content:
        assert read_config(tmp_path / "x.cfg")
