"""The report: numbers on the page are those of the files, and files of other kinds are told."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy
import pytest
from markupsafe import Markup

from spacy_xner.cli.app import xner
from spacy_xner.errors import XnerError
from spacy_xner.projector.summary import SilverCounts, Summary
from spacy_xner.report import figures
from spacy_xner.report.figures import draw_calibration, draw_curves, draw_sentences
from spacy_xner.report.page import BEGIN, END, Report, renew_readme, write_report
from spacy_xner.report.sources import read_model

from scripts.command import app as scripts_app
from tests.cli import invoke

LANGUAGES = ["de", "en", "zh"]


class Page(HTMLParser):
    """The tables of a page by the heading before them, and the paragraphs."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.text: dict[str, str] = {}
        self._heading, self._section, self._tag = "", "", ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag in ("h2", "h3"):
            self._heading = ""
        if tag == "table":
            self._section = self._heading
            self.tables[self._section] = []
        if tag == "tr":
            self.tables[self._section].append([])
        if tag in ("td", "th"):
            self.tables[self._section][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag in ("h2", "h3"):
            self._heading += data
        elif self._tag in ("td", "th"):
            self.tables[self._section][-1][-1] += data
        elif self._tag == "p":
            self.text[self._heading] = self.text.get(self._heading, "") + " ".join(data.split())


def make_metrics(seed: int = 0) -> dict[str, Any]:
    """What `evaluate` writes, with random numbers."""
    rng = numpy.random.default_rng(seed)

    def table(names: list[str]) -> dict[str, Any]:
        return {
            name: {
                **dict(zip("prf", rng.random(3).tolist(), strict=True)),
                "support": int(rng.integers(2000)),
            }
            for name in names
        }

    scores = {
        **{f"ents_{key}": float(rng.random()) for key in ("p", "r", "f", "f_macro")},
        "ents_per_language": table(LANGUAGES),
        "ents_per_type": table(["LOC", "ORG", "PER"]),
        "ents_per_length": table(["1", "2", "3+"]),
        "ents_per_corpus": table(["uner_pud", "wikiann"]),
        "words_per_second": float(rng.random() * 10_000),
        "language_acc": float(rng.random()),
        "routing_acc": float(rng.random()),
    }
    ent = {"start": 0, "end": 5, "label": "ORG"}
    example = {"language": "en", "right": False, "text": "Nokia won", "gold": [ent], "predicted": []}
    confusion = {"languages": LANGUAGES, "counts": rng.integers(0, 9, size=(3, 3)).tolist()}
    return {"scores": scores, "confusion": confusion, "examples": [example]}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """All that verbs make, in small."""
    for name in ("metrics", "training/xner", "training/groupings", "silver", "compare"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "metrics" / "xner.json").write_text(json.dumps(make_metrics()))
    lines = [
        {"step": s, "losses": {"ner": 2.0 - s / 10}, "scores": {"ents_per_language": {"en": {"f": s / 20}}}}
        for s in (0, 5, 10)
    ]
    curves = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "training" / "xner" / "curves.jsonl").write_text(curves)
    grouping = {
        "name": "found", "clusters": {"cluster1": ["de", "en"], "cluster2": ["zh"]},
        "purity": {"de": 0.625, "en": 1.0, "zh": 0.9375}, "ties": ["de"],
    }  # fmt: skip
    (tmp_path / "training" / "groupings" / "found.json").write_text(json.dumps(grouping))
    figure = {
        "languages": ["en", "de"],
        "points": {"base-max": [[0, 1], [1, 0]], "identifier": [[0, 0], [1, 1]]},
    }
    (tmp_path / "training" / "groupings" / "figure1.json").write_text(json.dumps(figure))
    counts = SilverCounts(12_345, 1, 2345, 3, 4, 5)
    counts.fates["no_place"], counts.labels["PER"] = 77, 88
    (tmp_path / "silver" / "de-news.json").write_text(json.dumps(Summary(counts).to_json()))
    routes = [
        {"route": name, "f1": f1, "precision": 50.04, "recall": 49.96, "words_per_second": 12345.6,
         "megabytes": 99.7, "minutes": 1.25, "about": f"about {name}", "f1_source_dev": 1.0}
        for name, f1 in (("joint", 61.24), ("project", 70.06))
    ]  # fmt: skip
    comparison = {"routes": routes, "reasons": {"text": "needs --text"}, "advice": ["Take `project`."]}
    (tmp_path / "compare" / "compare.json").write_text(json.dumps(comparison))
    return tmp_path


def options_of(folder: Path) -> list[Any]:
    return [
        folder / "report.html", "--metrics", folder / "metrics", "--training", folder / "training",
        "--silver", folder / "silver", "--compare", folder / "compare",
    ]  # fmt: skip


@pytest.fixture
def page(folders: Path) -> Page:
    invoke(xner, "report", *options_of(folders))
    return Page((folders / "report.html").read_text(encoding="utf-8"))


def shown(value: float) -> str:
    return f"{100 * value:.1f}"


def test_scores_on_the_page_are_those_of_the_metrics_file(folders: Path, page: Page) -> None:
    content = json.loads((folders / "metrics" / "xner.json").read_text())
    scores = content["scores"]
    for title, key in (
        ("By language", "ents_per_language"),
        ("By label", "ents_per_type"),
        ("By entity length (tokens)", "ents_per_length"),
        ("By corpus", "ents_per_corpus"),
    ):
        expected = [
            [name, shown(row["p"]), shown(row["r"]), shown(row["f"]), str(row["support"])]
            for name, row in scores[key].items()
        ]
        assert page.tables[title] == [["", "P", "R", "F1", "entities"], *expected]
    summary = page.text[f"xner: F1 {shown(scores['ents_f'])}"]
    assert summary == (
        f"Precision {shown(scores['ents_p'])}, recall {shown(scores['ents_r'])}, mean of the languages' F1 "
        f"{shown(scores['ents_f_macro'])}; {scores['words_per_second']:,.0f} words/s on the machine of this "
        "report."
    )
    title = f"Languages found: accuracy {shown(scores['language_acc'])}"
    rows = [[str(n or "") for n in row] for row in content["confusion"]["counts"]]
    assert page.tables[title] == [
        ["gold / found", *LANGUAGES],
        *([language, *row] for language, row in zip(LANGUAGES, rows, strict=True)),
    ]
    assert page.text[title].startswith(f"{shown(scores['routing_acc'])} % of the texts")


def test_clusters_silver_and_routes_on_the_page_are_those_of_their_files(page: Page) -> None:
    assert page.tables["Clusters: groupings/found"][1:] == [
        ["cluster1", "de (62.5), en (100.0)"],
        ["cluster2", "zh (93.8)"],
    ]
    assert page.text["Clusters: groupings/found"] == "Ties: de"
    silver = dict(page.tables["Silver corpus: de-news"])
    assert silver["pairs"] == "12,345"
    assert silver["sentences kept"] == "2,345"
    assert silver["entities of the source: no place in the target"] == "77"
    assert silver["entities of the corpus: PER"] == "88"
    assert page.tables["Routes: compare"][1:] == [
        ["project", "70.1", "50.0", "50.0", "12,346", "100", "1.2", "about project"],
        ["joint", "61.2", "50.0", "50.0", "12,346", "100", "1.2", "about joint"],
        ["text", *["–"] * 6, "needs --text"],
    ]
    assert page.text["Routes: compare"] == "Take `project`."


def test_figures_are_drawn_and_equal_files_make_equal_pages(folders: Path, page: Page) -> None:
    content = (folders / "report.html").read_bytes()
    # Curves, and sentences before and after.
    assert content.count(b"<svg") == 2
    invoke(xner, "report", *options_of(folders))
    assert (folders / "report.html").read_bytes() == content


def test_the_script_of_the_experiments_writes_the_page_of_the_verb(folders: Path) -> None:
    arguments = ["--metrics", folders / "metrics", "--training", folders / "training"]
    invoke(xner, "report", folders / "verb.html", *arguments)
    (folders / "runs").mkdir(exist_ok=True)
    invoke(scripts_app, "report", folders / "script.html", folders / "runs", *arguments)
    verb, script = ((folders / f"{name}.html").read_text().split() for name in ("verb", "script"))
    assert verb == script


def test_sections_follow_as_they_are_or_as_text(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", Report(), [Markup("<h2>Ready</h2>"), "| a | b <i> |\n|---|---|"])
    content = (tmp_path / "r.html").read_text()
    assert "<h2>Ready</h2>" in content
    assert "<pre>| a | b &lt;i&gt; |\n|---|---|</pre>" in content


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("metrics/xner.json", ["scores"], None),
        ("metrics/xner.json", ["scores", "ents_f"], "<b>0.5"),
        ("metrics/xner.json", ["scores", "ents_per_type", "PER", "support"], "1"),
        ("metrics/xner.json", ["scores", "routing_acc"], True),
        ("metrics/xner.json", ["examples"], [{"text": "x"}]),
        ("metrics/xner.json", ["confusion", "counts", 0, 0], "<b>"),
        ("training/groupings/found.json", ["purity"], {}),
        ("training/groupings/figure1.json", ["points", "identifier", 0, 0], "x"),
        ("silver/de-news.json", ["counts"], {"pairs": 1}),
        ("silver/de-news.json", ["counts", "fates"], {"lost": 1}),
        ("compare/compare.json", ["routes", 0, "minutes"], "1"),
        ("compare/compare.json", ["routes"], [{"route": "joint"}]),
    ],
)
def test_files_of_other_kinds_are_named(folders: Path, file: str, keys: list[Any], value: Any) -> None:
    path = folders / file
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content))
    printed = invoke(xner, "report", *options_of(folders), code=1)
    assert "XNER530" in printed
    assert path.name in printed.replace(" ", "")
    assert not (folders / "report.html").exists()


def test_a_file_that_is_no_json_is_named(folders: Path) -> None:
    (folders / "training" / "xner" / "curves.jsonl").write_text("{\n")
    assert "XNER530" in invoke(xner, "report", *options_of(folders), code=1)


def test_the_table_of_a_readme_is_renewed(folders: Path) -> None:
    content = make_metrics(seed=1)
    (folders / "metrics" / "a.json").write_text(json.dumps(content))
    readme = folders / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    invoke(xner, "report", *options_of(folders), "--readme", readme)
    scores = make_metrics()["scores"]
    cells = " | ".join(shown(row["f"]) for row in scores["ents_per_language"].values())
    assert readme.read_text().splitlines() == [
        "before", BEGIN, "| | de | en | zh | all |", "|---|---|---|---|---|",
        f"| F1 | {cells} | **{shown(scores['ents_f'])}** |", END, "after",
    ]  # fmt: skip
    (folders / "metrics" / "xner.json").unlink()
    invoke(xner, "report", *options_of(folders), "--readme", readme)
    assert shown(content["scores"]["ents_f"]) in readme.read_text()


def test_a_readme_without_marks_or_scores_is_left_as_it_is(folders: Path) -> None:
    readme = folders / "README.md"
    readme.write_text(f"before\n{BEGIN}\nafter\n")
    assert "XNER531" in invoke(xner, "report", *options_of(folders), "--readme", readme, code=1)
    assert readme.read_text() == f"before\n{BEGIN}\nafter\n"
    with pytest.raises(XnerError, match="XNER532"):
        renew_readme(readme, [])


def test_test_files_without_annotation_have_no_scores(folders: Path) -> None:
    scores = {"ents_f": None, "ents_per_language": None, "words_per_second": 1.0}
    path = folders / "metrics" / "raw.json"
    path.write_text(json.dumps({"scores": scores, "confusion": None, "examples": []}))
    model = read_model(path, folders)
    assert (model.scores, model.tables, model.languages, model.curves) == ({}, [], [], "")


def test_the_curves_of_probabilities_are_on_the_page(folders: Path) -> None:
    path = folders / "metrics" / "xner.json"
    content = json.loads(path.read_text())
    invoke(xner, "report", *options_of(folders))
    before = (folders / "report.html").read_text().count("<svg")
    bins = [{"score": 0.25, "precision": 0.5, "n": 2}, {"score": 0.875, "precision": 1.0, "n": 4}]
    content["calibration"] = {"bins": bins, "coverage": [0.5, 1.0], "risk": [0.0, 0.25], "area": 0.1}
    path.write_text(json.dumps(content))
    invoke(xner, "report", *options_of(folders))
    page = (folders / "report.html").read_text()
    assert page.count("<svg") == before + 1
    assert "<h3>Probabilities</h3>" in page
    content["calibration"]["bins"] = [{"score": "<script>", "precision": 1, "n": 1}]
    path.write_text(json.dumps(content))
    assert "XNER530" in invoke(xner, "report", *options_of(folders), code=1)


def test_the_curves_of_probabilities_are_where_their_numbers_say(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "to_svg", drawn.append)
    bins = [{"score": 0.25, "precision": 0.5, "n": 2}, {"score": 0.875, "precision": 1.0, "n": 4}]
    draw_calibration({"bins": bins, "coverage": [0.5, 1.0], "risk": [0.0, 0.25]})
    left, right = drawn[0].axes
    assert left.lines[1].get_xydata().tolist() == [[0.25, 0.5], [0.875, 1.0]]
    assert right.lines[0].get_xydata().tolist() == [[0.5, 0.0], [1.0, 0.25]]


def test_names_in_figures_are_text() -> None:
    """Matplotlib reads dollar signs as mathematics, and stops at what is none."""
    lines = [
        {"step": s, "losses": {"ner": 1.0}, "scores": {"ents_per_language": {r"$\frac$": {"f": 0.5}}}}
        for s in (0, 5)
    ]
    assert draw_curves(lines).startswith("<svg")
    points = {r"$\bad{$": [[0, 1], [1, 0]]}
    assert draw_sentences({"languages": [r"$\x$", "-->"], "points": points}).startswith("<svg")
    # Before the first evaluation, and without languages.
    assert draw_curves([{"step": 0, "losses": {}, "scores": {}}]).startswith("<svg")


def test_powers_of_ten_in_figures_are_mathematics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "to_svg", lambda figure: figure)
    lines = [
        {"step": s, "losses": {"ner": 2.0 - s / 10}, "scores": {"ents_per_language": {"en": {"f": 0.5}}}}
        for s in (0, 5, 10)
    ]
    drawn: Any = draw_curves(lines)
    drawn.canvas.draw()
    loss, scores = drawn.axes
    labels = [label for label in loss.get_yticklabels(which="both") if label.get_text()]
    assert any("10^{" in label.get_text() for label in labels)
    assert all(label.get_parse_math() for label in labels)
    assert not any(text.get_parse_math() for text in scores.get_legend().get_texts())
