"""The pages in a real browser: nothing from outside runs, right-to-left text is drawn so."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from spacy_xner import pages
from spacy_xner.pages import direction, draw_entities, render
from spacy_xner.projector.audit import write_audit
from spacy_xner.projector.summary import SilverCounts, Summary
from spacy_xner.report.page import Report, collect_report, write_report
from spacy_xner.report.sources import Clustering, Comparison, RouteRow, Silver

from tests.browser import HOSTILE, active_elements, open_browser, open_page

ARABIC, HEBREW = "ولد أحمد في القاهرة", "דוד נולד בירושלים"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def hostile_scores(key: str) -> dict[str, dict[str, float]]:
    return {string + key: {"p": 0.5, "r": 0.5, "f": 0.5, "support": 2} for string in HOSTILE}


def hostile_example(string: str) -> dict[str, Any]:
    ents = [{"start": 0, "end": 2, "label": string}, {"start": 3, "end": 5, "label": "PER", "kb_id": string}]
    return {"language": string, "right": False, "text": string, "gold": ents, "predicted": ents}


def write_hostile_report(folder: Path) -> Path:
    """A report whose every string from outside is hostile, figures included."""
    metrics, training = folder / "metrics", folder / "training"
    scores = {
        **{f"ents_{key}": 0.5 for key in ("p", "r", "f", "f_macro")},
        **{f"ents_per_{key}": hostile_scores(key) for key in ("language", "type", "length")},
        "words_per_second": 10.0,
        "language_acc": 0.5,
        "routing_acc": 0.5,
    }
    confusion = {"languages": HOSTILE, "counts": [[1] * len(HOSTILE)] * len(HOSTILE)}
    examples = [hostile_example(string) for string in HOSTILE]
    name = "<img src=x onerror=window.pwned=1>"
    metrics.mkdir()
    (metrics / f"{name}.json").write_text(
        json.dumps({"scores": scores, "confusion": confusion, "examples": examples})
    )
    (training / name).mkdir(parents=True)
    lines = [
        {"step": step, "losses": {"ner": 1.0}, "scores": {"ents_per_language": hostile_scores("")}}
        for step in (0, 10, 20)
    ]
    (training / name / "curves.jsonl").write_text("\n".join(map(json.dumps, lines)))
    grouping = {
        "name": "found", "clusters": {"cluster1": HOSTILE}, "purity": dict.fromkeys(HOSTILE, 0.5),
        "ties": HOSTILE,
    }  # fmt: skip
    (training / "groups").mkdir()
    (training / "groups" / "found.json").write_text(json.dumps(grouping))
    figure = {"languages": HOSTILE, "points": {"<b>$x": [[i, i] for i in range(len(HOSTILE))]}}
    (training / "groups" / "figure1.json").write_text(json.dumps(figure))
    read = collect_report(metrics, training)
    report = Report(
        read.models,
        [*read.clusterings, *(Clustering(s, {s: [s]}, {s: 1.0}, [s], Markup()) for s in HOSTILE)],
        [Silver(s, [(s, 1)]) for s in HOSTILE],
        [Comparison(s, [RouteRow(s, 1, 1, 1, 1, 1, 1, s)], {s: s}, [s]) for s in HOSTILE],
    )
    write_report(folder / "report.html", report, HOSTILE)
    return folder / "report.html"


def write_hostile_audit(folder: Path) -> Path:
    counts = SilverCounts(1, labels=Counter(HOSTILE), fates=Counter(projected=1))
    side = {
        string: {"text": string, "ents": [{"start": 0, "end": 2, "label": f"1 {string}"}]}
        for string in HOSTILE
    }
    rows = [
        {"line": string, "source": side[string], "target": side[string], "fates": ["no_place"]}
        for string in HOSTILE
    ]
    summary = Summary(counts, {"kept": rows, "no_place": rows}, [])
    for number, string in enumerate(HOSTILE):
        write_audit(folder / f"{number}.html", summary, string, string)
    return folder


def without_policy(path: Path) -> Path:
    """The page without its policy, which would stop what is not escaped."""
    content = path.read_text(encoding="utf-8")
    start = content.index("<meta http-equiv")
    copy = path.with_suffix(".open.html")
    copy.write_text(content[:start] + content[content.index(">", start) + 1 :], encoding="utf-8")
    return copy


def assert_nothing_runs(browser: Any, path: Path, title: str) -> None:
    open_page(browser, without_policy(path))
    assert active_elements(browser) == []
    assert browser.execute_script("return window.pwned") is None
    assert browser.title == title


@pytest.mark.parametrize("string", HOSTILE)
def test_each_hostile_string_would_run_or_stand_in_an_open_page(
    browser: Any, string: str, tmp_path: Path
) -> None:
    """Without this the other tests could not fail."""
    places = [f"<p>{string}</p>", f'<p title="{string}">', f"<p title='{string}'>", f"<!-- {string} -->"]
    places += [f"<style>{string}</style>", f"<title>{string}</title>"]
    runs = []
    for number, place in enumerate(places):
        path = tmp_path / f"{number}.html"
        path.write_text(f"<!doctype html><body>{place}", encoding="utf-8")
        open_page(browser, path)
        runs.append(browser.execute_script("return window.pwned") == 1 and active_elements(browser) != [])
    assert any(runs)


def test_no_string_from_outside_runs_on_the_report(browser: Any, tmp_path: Path) -> None:
    path = write_hostile_report(tmp_path)
    assert_nothing_runs(browser, path, "spacy_xner report")
    shown = browser.execute_script("return document.body.textContent")
    for string in HOSTILE:
        # As a label, language, title, model and section: the strings themselves are on the page.
        assert shown.count(string) > 20, string


def test_no_string_from_outside_runs_on_the_audit_page(browser: Any, tmp_path: Path) -> None:
    folder = write_hostile_audit(tmp_path)
    for number, string in enumerate(HOSTILE):
        title = " ".join(f"Silver corpus: {string} to {string}".split())
        assert_nothing_runs(browser, folder / f"{number}.html", title)
        assert string in browser.execute_script("return document.body.textContent")


def test_the_policy_stops_what_would_run(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(
        path, Report(), [Markup("<script>window.pwned=1</script><img src=x onerror=window.pwned=1>")]
    )
    open_page(browser, path)
    assert browser.execute_script("return window.pwned") is None
    open_page(browser, without_policy(path))
    assert browser.execute_script("return window.pwned") == 1


def test_right_to_left_text_is_drawn_from_the_right(browser: Any, tmp_path: Path) -> None:
    rows = [
        {"line": 1, "source": {"text": "David was born", "ents": []}, "target": {"text": text, "ents": ents}}
        for text, ents in ((HEBREW, [{"start": 0, "end": 3, "label": "1 PER 0.92"}]), (ARABIC, []))
    ]
    for row in rows:
        row["fates"] = ["projected"]
    write_audit(tmp_path / "audit.html", Summary(SilverCounts(), {"kept": rows}, []), "en", "he")
    open_page(browser, tmp_path / "audit.html")
    script = (
        "return [...document.querySelectorAll('.pair > div')].map(e => [e.lang, e.dir, "
        "getComputedStyle(e.querySelector('.entities')).direction])"
    )
    assert browser.execute_script(script) == [["en", "ltr", "ltr"], ["he", "rtl", "rtl"]] * 2
    # A label keeps its order.
    labels = browser.execute_script(
        "return [...document.querySelectorAll('bdi')].map(e => [e.dir, e.innerText])"
    )
    assert labels == [["ltr", "1 PER 0.92"]]
    # The entity at the beginning of the Hebrew sentence stands at the right border.
    places = browser.execute_script(
        "const mark = document.querySelector('mark'), line = mark.parentElement;"
        "return [mark, line].map(e => e.getBoundingClientRect().right)"
    )
    assert abs(places[0] - places[1]) < 10


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        (ARABIC, "ar", "rtl"),
        (HEBREW, None, "rtl"),
        ("Barack Obama", "ar", "rtl"),
        ("Barack Obama", "ar_EG", "rtl"),
        ("Barack Obama", "de", "ltr"),
        (f"The word {ARABIC.split()[0]} begins it", "en", "ltr"),
        ("", "", "ltr"),
        ("123", "fa-IR", "rtl"),
    ],
)
def test_the_language_or_the_letters_decide_the_direction(text: str, language: str, expected: str) -> None:
    assert direction(text, language) == expected


def test_entities_that_overlap_are_drawn_once_and_links_not_at_all() -> None:
    ents = [
        {"start": 4, "end": 9, "label": "LOC"},
        {"start": 0, "end": 6, "label": "PER", "kb_id": "Q1", "kb_url": "javascript:alert(1)"},
        {"start": 6, "end": 9, "label": "ORG"},
    ]
    drawn = draw_entities("abcdefghi", ents)
    assert drawn.count("<mark") == 2
    assert drawn.striptags() == "abcdef PERghi ORG"
    assert "javascript" not in drawn
    assert pages.COLORS["PER"] in drawn


def test_templates_take_only_markup_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.jinja").write_text("{{ x }} {{ y }}")
    assert render("a.jinja", tmp_path, x="<b>", y=Markup("<i>")) == "&lt;b&gt; <i>"
