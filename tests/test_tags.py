"""Tag schemes: properties, CoNLL's reading of stray tags, errors."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from spacy_xner.tags import PREFIXES, TagSet, TokenSpan, spans_to_tags, tags_to_spans

LABELS = ("LOC", "ORG", "PER")


@st.composite
def documents(draw):
    """Random documents: non-overlapping spans and a length."""
    spans, position = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = position + draw(st.integers(0, 3))
        end = start + draw(st.integers(1, 4))
        spans.append(TokenSpan(start, end, draw(st.sampled_from(LABELS))))
        position = end
    return spans, position + draw(st.integers(0, 3))


@pytest.mark.parametrize("scheme", PREFIXES)
@given(case=documents())
def test_tags_keep_every_span(scheme, case):
    spans, n_tokens = case
    tag_set = TagSet(LABELS, scheme)
    assert tag_set.decode(tag_set.encode(spans, n_tokens))[0] == spans
    assert tags_to_spans(spans_to_tags(spans, n_tokens, scheme)) == spans


@pytest.mark.parametrize("scheme", PREFIXES)
@given(case=documents())
def test_encoded_tags_follow_the_scheme(scheme, case):
    spans, n_tokens = case
    tag_set = TagSet(LABELS, scheme)
    path = [len(tag_set), *tag_set.encode(spans, n_tokens), len(tag_set)]
    assert all(tag_set.allowed[a, b] for a, b in itertools.pairwise(path))


@given(cases=st.lists(documents(), min_size=1, max_size=4))
def test_a_batch_decodes_like_its_documents(cases):
    tag_set = TagSet(LABELS, "IOB2")
    ids = [tag_set.encode(spans, n) for spans, n in cases]
    assert tag_set.decode(numpy.concatenate(ids), [n for _, n in cases]) == [s for s, _ in cases]


@given(tags=st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), max_size=12))
def test_stray_tags_are_read_as_seqeval_reads_them(tags):
    expected = [(start, end + 1, label) for label, start, end in get_entities(tags)]
    assert [tuple(span) for span in tags_to_spans(tags)] == expected


@given(tags=st.lists(st.sampled_from(TagSet(("A-B", "C"), "BIOES").tags), max_size=12))
def test_tags_are_read_one_by_one_as_arrays_are(tags):
    tag_set = TagSet(("A-B", "C"), "BIOES")
    ids = numpy.array([tag_set.tags.index(tag) for tag in tags], dtype="int64")
    assert tags_to_spans(tags) == tags_to_spans(tags, ("A-B", "C")) == tag_set.decode(ids)[0]


@pytest.mark.parametrize(
    ("tags", "labels", "wrong"),
    [
        (["O", "I_PER"], None, "I_PER"),
        (["O", "PER"], None, "PER"),
        (["B-PER", ""], None, "''"),
        (["B-PER", "B-LOC"], ("PER",), "B-LOC"),
        (["E-", "S"], None, "S"),
    ],
)
def test_a_tag_of_no_scheme_or_label_is_named(tags, labels, wrong):
    with pytest.raises(ValueError, match="XNER109") as info:
        tags_to_spans(tags, labels)
    assert wrong.strip("'") in str(info.value)


@given(tags=st.lists(st.sampled_from(["O", "B-PER", "I-PER", "E-PER", "S-PER"]), max_size=9))
def test_stray_bioes_tags_always_have_a_reading(tags):
    covered = {i for span in tags_to_spans(tags) for i in range(span.start, span.end)}
    assert covered == {i for i, tag in enumerate(tags) if tag != "O"}


def test_iob1_writes_b_only_between_touching_entities_of_one_label():
    spans = [TokenSpan(0, 1, "PER"), TokenSpan(1, 3, "PER"), TokenSpan(3, 4, "LOC")]
    assert spans_to_tags(spans, 4, "IOB1") == ["I-PER", "B-PER", "I-PER", "I-LOC"]


def test_bioes_marks_ends_and_singles():
    spans = [TokenSpan(0, 3, "PER"), TokenSpan(3, 4, "LOC")]
    assert spans_to_tags(spans, 5, "BIOES") == ["B-PER", "I-PER", "E-PER", "S-LOC", "O"]


def test_overlapping_spans_are_an_error():
    with pytest.raises(ValueError, match="XNER113"):
        spans_to_tags([TokenSpan(0, 2, "PER"), TokenSpan(1, 3, "LOC")], 3)


def test_a_tag_of_no_scheme_is_an_error():
    with pytest.raises(ValueError, match="XNER109"):
        tags_to_spans(["O", "X-PER"])
