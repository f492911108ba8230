"""The picture of the README: boxes around entities, escaped text, words in the order of reading."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.docs import write_docs
from spacy_xner.errors import XnerError

from scripts.command import app
from scripts.picture import choose_sentences, draw, is_leftward, pieces_of, width_of
from tests import tiny
from tests.cli import invoke

SVG = "{http://www.w3.org/2000/svg}"


def make_doc(text: str, entities: list[tuple[str, str]]) -> Doc:
    """A document with entities, the first of which has a probability of 0.9, the second of 0.8 and so on."""
    register_attributes()
    doc = tiny.blank().make_doc(text)
    places = [(text.index(name), text.index(name) + len(name), label) for name, label in entities]
    doc.ents = [doc.char_span(start, end, label) for start, end, label in places]
    for n, ent in enumerate(doc.ents):
        ent._.score = 0.9 - n / 10
    return doc


def texts_of(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_entities_are_pieces_with_label_and_probability():
    doc = make_doc("Ana <b> & Lisbon.", [("Ana", "PER"), ("Lisbon", "LOC")])
    assert [(piece.text, piece.note) for piece in pieces_of(doc)] == [
        ("Ana", "PER 0.90"), (" <b> & ", ""), ("Lisbon", "LOC 0.80"), (".", ""),
    ]  # fmt: skip


def test_text_is_escaped_and_every_entity_has_a_box():
    doc = make_doc("Ana <b> & Lisbon.", [("Ana", "PER"), ("Lisbon", "LOC")])
    picture = draw([("en", doc)], "A <title>")
    assert texts_of(picture) == ["en", "PER 0.90", "Ana", "<b> &", "LOC 0.80", "Lisbon", "."]
    # One rectangle is the background.
    assert picture.count("<rect") == 3
    assert "<title>A &lt;title&gt;</title>" in picture


def test_right_to_left_text_goes_from_right_to_left():
    doc = make_doc("زارت سلمى باريس", [("سلمى", "PER"), ("باريس", "LOC")])
    assert is_leftward(doc.text)
    places = {
        element.text: float(element.attrib["x"])
        for element in ElementTree.fromstring(draw([("ar", doc)], "x")).iter(f"{SVG}text")
    }
    assert places["باريس"] < places["سلمى"] < places["زارت"]


def test_nothing_overlaps_and_all_is_inside():
    doc = make_doc("Maria Santos won the race in Lisbon.", [("Maria Santos", "PER"), ("Lisbon", "LOC")])
    picture = ElementTree.fromstring(draw([("en", doc)] * 2, "x"))
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    words = [element for element in picture.iter(f"{SVG}text") if "textLength" in element.attrib][:4]
    ends = [float(word.attrib["x"]) + float(word.attrib["textLength"]) for word in words]
    starts = [float(word.attrib["x"]) for word in words]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert ends[-1] <= width
    assert all(float(element.attrib["y"]) <= height for element in picture.iter(f"{SVG}text"))


def test_wide_characters_are_wider_and_marks_have_no_width():
    assert width_of("東京", 10) == 20
    assert width_of("e\u0301", 10) == width_of("e", 10) > width_of("i", 10)


@pytest.fixture
def sample(tmp_path):
    docs = [make_doc("Toyota.", [("Toyota", "ORG")]), make_doc("Ana ran. " * 9, []),
            make_doc("Ana saw Lisbon.", [("Ana", "PER"), ("Lisbon", "LOC")])]  # fmt: skip
    write_docs(docs, tmp_path / "en-sample-test.spacy")
    return tmp_path


def test_short_sentences_with_two_kinds_of_entities_are_chosen(sample):
    nlp: Language = tiny.blank()
    [(language, doc)] = choose_sentences(sample, nlp, ["en"], 40)
    assert (language, doc.text) == ("en", "Ana saw Lisbon.")


def test_the_command_draws_what_a_pipeline_finds(sample, trained):
    trained.to_disk(sample / "pipeline")
    out = sample / "picture.svg"
    invoke(app, "picture", sample / "pipeline", sample, out, "--languages=en")
    assert re.search(r"Lisbon", out.read_text(encoding="utf-8"))


def test_a_sample_that_is_not_there_is_named(sample, trained):
    with pytest.raises((XnerError, FileNotFoundError), match="xx-sample-test"):
        choose_sentences(sample, trained, ["xx"], 40)


def test_the_command_reference_writes_pages_and_notices_old_ones(tmp_path):
    invoke(app, "reference", tmp_path)
    assert "5 pages are as the code" in invoke(app, "reference", tmp_path, "--check")
    (tmp_path / "verbs.md").write_text("old", encoding="utf-8")
    assert "verbs.md" in invoke(app, "reference", tmp_path, "--check", code=1)
    assert (tmp_path / "verbs.md").read_text(encoding="utf-8") == "old"
