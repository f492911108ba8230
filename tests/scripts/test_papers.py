"""The papers' folders: projects that name what exists, and presets that start."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from weasel.util.config import load_project_config

from spacy_xner.files import read_json, write_json

from scripts.experiment import read_config, read_experiments
from scripts.results import DESCRIPTION, read_results
from scripts.runner import Run, run_experiment
from scripts.views import tables_of
from tests.scripts.corpora import deepen, write_corpus
from tests.scripts.test_experiments import write_vectors

ROOT = Path(__file__).parents[2]
PAPERS = sorted(path.parent for path in (ROOT / "papers").glob("*/project.yml"))
PROJECTS = [ROOT / "project.yml", *sorted(ROOT.glob("*/project.yml")), *sorted(ROOT.glob("*/*/project.yml"))]
PRESETS = [paper / f"{scale}.cfg" for paper in PAPERS for scale in ("small", "paper")]
# Languages that the presets without a transformer go to.
TARGETS = ("es", "de", "bn", "fi", "ar", "ru")
HAS_VERBS = importlib.util.find_spec("spacy_xner.cli.convert") is not None


def named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_there_is_a_folder_for_each_paper() -> None:
    assert [paper.name for paper in PAPERS] == ["bari2020", "huang2019", "li2021", "moon2019", "shaffer2021"]


@pytest.mark.parametrize("project", PROJECTS, ids=named)
def test_projects_are_described_and_name_what_exists(project: Path) -> None:
    content = yaml.safe_load(project.read_text(encoding="utf-8"))
    commands = {command["name"]: command for command in content["commands"]}
    for steps in content["workflows"].values():
        assert set(steps) <= set(commands)
    for command in commands.values():
        assert command["help"]
    for asset in content.get("assets", []):
        assert asset["description"]
        assert asset["url"].startswith("https://")
    lines = [line for command in commands.values() for line in command["script"]]
    # Words of test sets are not to have vectors because they are in the test sets.
    assert not [line for line in lines if re.search(r"vectors (distil|train) .*-test\.", line)]
    # Configs and experiments that commands name are there.
    for line in lines:
        words = shlex.split(line)
        if "experiment" in words[:3]:
            scales = ("small", "large" if project.parent.name == "release" else "paper")
            for config in [words[3].replace("${vars.scale}", scale) for scale in scales]:
                known = read_config(project.parent / config)["experiments"]
                names = words[words.index("--only") + 1].split(",") if "--only" in words else []
                assert set(names) <= set(known), line


@pytest.mark.parametrize("project", PROJECTS, ids=named)
def test_weasel_reads_projects_as_they_are_written(project: Path, tmp_path: Path) -> None:
    """Variables that stand alone side by side in a list are read as one text by weasel.

    It refuses a workflow that has the name of a command.
    """
    shutil.copy(project, tmp_path)
    raw = yaml.safe_load((tmp_path / "project.yml").read_text(encoding="utf-8"))["commands"]
    for written, read in zip(raw, load_project_config(tmp_path)["commands"], strict=True):
        for key in ("deps", "outputs", "script"):
            assert len(written.get(key, ())) == len(read.get(key, ())), (written["name"], key)


@pytest.mark.skipif(not HAS_VERBS, reason="the verbs of spacy xner are not all there")
@pytest.mark.parametrize("project", PROJECTS, ids=named)
def test_verbs_of_projects_take_their_options(project: Path) -> None:
    import spacy_xner.cli  # noqa: F401
    from spacy_xner.cli.app import xner

    content = yaml.safe_load(project.read_text(encoding="utf-8"))
    lines = [line for command in content["commands"] for line in command["script"]]
    verbs = [shlex.split(line)[4:] for line in lines if line.startswith("python -m spacy xner ")]
    assert verbs
    for words in verbs:
        command: Any = get_command(xner)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        options = {word for word in words if word.startswith("--")}
        if not command.context_settings.get("ignore_unknown_options"):
            assert options <= known, words


def covering(plan: list[Run]) -> list[Run]:
    """Some runs of a plan that have every value of every axis."""
    seen: set[tuple[str, str]] = set()
    chosen = []
    for run in plan:
        values = {(axis, str(value)) for axis, value in run.axes.items()}
        if values - seen:
            seen |= values
            chosen.append(run)
    return chosen or plan[:1]


@pytest.fixture(scope="module")
def encoder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny transformer with the layers and the window of a real one."""
    return deepen(checkpoint, tmp_path_factory.mktemp("deep"), n_layers=12, n_positions=520)


def prepare(preset: Path, folder: Path) -> dict[str, Any]:
    """Lay out what a preset reads, as small as can be. RETURNS: Overrides of its paths."""
    languages = [
        "ar",
        "da",
        "de",
        "en",
        "es",
        "fi",
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
        "bn",
    ]
    config = read_config(preset)
    paths = {name: folder / "paths" / name for name in config["paths"]}
    write_corpus(paths["corpus"], languages, "wikiann")
    write_corpus(paths["corpus"], ["en"], "uner_ewt")
    write_corpus(paths["corpus"], ["es", "nl"], "conll02")
    write_corpus(paths["corpus"], ["ar", "en", "zh"], "ontonotes")
    write_corpus(paths["corpus"], ["en", "es", "de"], "wikineural")
    for target in TARGETS:
        corpora = ("wikiann", "wikineural")
        for source in (
            f"{c}{kind}" for c in corpora for kind in (f".{target}", f".{target}.shuffled", ".shuffled")
        ):
            write_corpus(paths["corpus"], ["en"], source, splits="train")
    for domain in ("news", "un", "subtitles"):
        write_corpus(paths.get("silver", folder / "silver"), ["de", "es", "zh"], domain, splits="train")
    if "vectors" in paths:
        for name in (
            "en",
            *(f"{t}{kind}" for t in TARGETS for kind in ("", ".unmapped", ".random")),
        ):
            write_vectors(paths["vectors"] / name)
    shutil.copytree(ROOT / "assets" / "groupings", folder / "assets" / "groupings")
    clusters = {"one": ["ar", "he", "sw"], "two": ["da", "de", "en", "es", "fr", "hi", "it", "ru", "yo"]}
    clusters |= {"three": ["ja", "ko", "zh"]}
    work = folder / "papers" / "paper"
    write_json(work / "training" / preset.stem / "found.json", {"name": "found", "clusters": clusters})
    return {f"paths.{name}": str(path) for name, path in paths.items()}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=named)
def test_presets_start(preset: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = prepare(preset, tmp_path)
    monkeypatch.chdir(tmp_path / "papers" / "paper")
    config = read_config(preset)
    overrides |= {"vars.seeds": [0]}
    overrides |= {f"vars.{name}": 1 for name in config["vars"] if name.endswith("steps")}
    if "encoder" in config["vars"]:
        overrides |= {"vars.encoder": str(encoder), "machine.precision": "float32"}
    if "teacher_epochs" in config["vars"]:
        overrides |= {"vars.teacher_epochs": 1}
    if config["experiments"].get("zero_resource") or config["experiments"].get("parts"):
        overrides |= {f"experiments.{name}.settings.hidden": 8 for name in config["experiments"]}
        overrides |= {f"experiments.{name}.settings.characters": 8 for name in config["experiments"]}
        overrides |= {f"experiments.{name}.settings.steps": 1 for name in config["experiments"]}
    for experiment in read_experiments(preset, overrides):
        plan = experiment.plan()
        chosen = covering(plan)
        monkeypatch.setattr(experiment, "plan", lambda chosen=chosen: chosen)
        out = tmp_path / "results" / experiment.name
        run_experiment(experiment, out)
        results = read_results(out)
        assert len(results) == len(chosen)
        # With objectives a step of labels and one of text; one before it goes on, and then augmentation.
        assert max(result["steps"] for result in results) <= 3
        assert max(path.stat().st_size for path in out.glob("*.json")) < 20_000
        assert all(table.rows for table in tables_of(out))
        assert read_json(out / DESCRIPTION)["runs"] == len(chosen)


def test_every_result_file_is_small_and_has_no_sentence() -> None:
    for path in (ROOT / "papers").glob("*/results/**/*.json"):
        content = path.read_text(encoding="utf-8")
        assert len(content) < 50_000, path
        assert not re.search(r'"(text|tokens|words)":', content), path
