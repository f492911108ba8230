"""The workflow `release` from corpora to the wheel, on tiny files, and what may be in it."""

import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spacy_xner.cli.app import xner
from spacy_xner.deploy.sources import FREE, source_of

PROJECT = yaml.safe_load(Path("release/project.yml").read_text(encoding="utf-8"))
LANGUAGES = ["ar", "da", "de", "en", "es", "fi", "fr", "he", "hi", "it", "ja", "ko", "ru", "sw", "yo", "zh"]
# The languages and splits of every folder.
CORPORA = {
    "wikiann": (LANGUAGES, ("train", "dev", "test")),
    "uner_ewt": (["en"], ("dev", "test")),
    "uner_ddt": (["da"], ("train", "dev", "test")),
    "uner_gsdsimp": (["zh"], ("train", "dev", "test")),
    "aqmar": (["ar"], ("train", "dev", "test")),
    "turku_ner": (["fi"], ("train", "dev", "test")),
    "uner_pud": (["de", "en", "ru", "zh"], ("test",)),
    "europarl_ner": (["de", "en", "es", "it"], ("test",)),
    "masakhaner2": (["sw", "yo"], ("train", "dev", "test")),
}
WORDS = [("Maria", "B-PER"), ("Santos", "I-PER"), ("won", "O"), ("in", "O"), ("Lisbon", "B-LOC")]
SMALL = {
    "wikiann_limit": 4, "gold_limit": 6, "ewt_dev": 2, "parallel_limit": 4, "teacher_steps": 2,
    "teacher_frequency": 2, "steps": 2, "frequency": 2, "dev_limit": 2, "calibration_limit": 4,
    "test_limit": 2, "layer": 2, "empty_share": 1.0,
}  # fmt: skip


def write_data(folder: Path) -> Path:
    """Write all corpora that the workflow reads; each sentence begins with a word of its own."""
    for name, (languages, splits) in CORPORA.items():
        for language in languages:
            for split in splits:
                path = folder / name / language / f"{split}.tsv"
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = []
                for i in range(8):
                    lines += [f"{name}{language}{split}{i}\tO"]
                    lines += [*(f"{word}\t{tag}" for word, tag in WORDS), ""]
                # A sentence of the test set, which must not be learnt.
                lines += [f"{name}{language}test0\tO", *(f"{word}\t{tag}" for word, tag in WORDS), ""]
                path.write_text("\n".join(lines), encoding="utf-8")
    text = "".join(f"{' '.join(word for word, _ in WORDS)} {i}\n" for i in range(6))
    (folder / "ntrex128").mkdir()
    for line in command("silver")["script"]:
        for name in re.findall(r"ntrex128/(\S+)", line):
            (folder / "ntrex128" / name).write_text(text, encoding="utf-8")
    return folder


def command(name: str) -> dict:
    """A command of the project by its name."""
    return next(row for row in PROJECT["commands"] if row["name"] == name)


@pytest.fixture(scope="module")
def released(checkpoint, tmp_path_factory):
    """The folder in which the whole workflow has run, with one tiny step for every model."""
    folder = tmp_path_factory.mktemp("release")
    config = Path("configs/transformer.cfg").read_text(encoding="utf-8")
    tiny = config.replace("name = ${paths.encoder}", "name = ${paths.encoder}\noverlap = 8")
    (folder / "tiny.cfg").write_text(tiny, encoding="utf-8")
    values = {**PROJECT["vars"], **SMALL, "data": write_data(folder / "data"), "encoder": checkpoint}
    values["config"] = folder / "tiny.cfg"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in PROJECT["workflows"]["all"]:
            for line in command(name)["script"]:
                filled = re.sub(r"\$\{vars\.(\w+)\}", lambda match: str(values[match[1]]), line)
                words = [word.strip("'") for word in filled.split()]
                assert words[:4] == ["python", "-m", "spacy", "xner"]
                done = CliRunner().invoke(xner, words[4:])
                assert done.exit_code == 0, f"{filled}\n{done.output}{done.exception!r}"
            for path in command(name)["outputs"]:
                assert Path(path.replace("${vars.version}", PROJECT["vars"]["version"])).exists(), path
    return folder


def meta_of(released: Path) -> dict:
    """The metadata in the wheel."""
    with zipfile.ZipFile(next((released / "packages").glob("*.whl"))) as archive:
        return json.loads(archive.read("xx_xner/meta.json"))


def test_the_wheel_lists_its_sources_and_all_of_them_are_free(released: Path) -> None:
    meta = meta_of(released)
    learnt = {row["source"]: row["license"] for row in meta["data"]}
    assert set(learnt) == {"aqmar", "ntrex", "turku", "uner_ddt", "uner_ewt", "uner_gsdsimp", "wikiann"}
    assert set(learnt.values()) <= set(FREE)
    assert {(row["name"], row["license"]) for row in meta["sources"]} == {
        (source_of(name).title, source_of(name).licence) for name in learnt
    }
    assert (meta["license"], meta["languages"]) == ("cc-by-sa-4.0", LANGUAGES)


def test_the_card_has_scores_by_language_and_by_corpus(released: Path) -> None:
    scores = meta_of(released)["performance"]
    assert set(scores["ents_per_language"]) == set(LANGUAGES)
    tested = {"turku_ner": "turku", "europarl_ner": "europarl"}
    assert set(scores["ents_per_corpus"]) == {tested.get(name, name) for name in CORPORA}
    card = (released / "packages").glob("*.whl")
    with zipfile.ZipFile(next(card)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("README.md"))
        assert "| masakhaner2 | gold |" in archive.read(name).decode("utf-8")
    assert set(scores["ents_per_corpus_language"]) >= {"uner_pud:ru", "wikiann:yo", "masakhaner2:sw"}


def test_no_sentence_of_a_test_set_is_learnt(released: Path) -> None:
    printed = CliRunner().invoke(
        xner, ["separate", str(released / "corpus/release"), str(released / "again")]
    )
    assert "0 sentences were in an earlier split" in " ".join(printed.output.split())
    names = {path.stem for path in (released / "corpus/release").glob("*.spacy")}
    assert {f"{language}-ntrex-train" for language in LANGUAGES if language != "en"} <= names
    assert not [name for name in names if "masakhaner" in name and not name.endswith("-test")]
