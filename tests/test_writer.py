"""DocBin files that are written as a stream: what spaCy reads from them."""

import numpy
import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus import writer as writer_module
from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.errors import XnerError
from spacy_xner.files import write_bytes

WORDS = ["Maria", "東京", "été", "\u200f", "a b", "x" * 300, "🦜", "it", "won", "\n"]


def make_docs(n):
    """Documents of all kinds: empty ones, with and without entities, spans, categories, user data."""
    register_attributes()
    rng = numpy.random.default_rng(0)
    vocab = spacy.blank("xx").vocab
    docs = []
    for i in range(n):
        words = [WORDS[j] for j in rng.integers(len(WORDS), size=i % 7)]
        doc = Doc(vocab, words=words, spaces=None if i % 5 else [True] * len(words))
        if len(doc) > 1 and i % 2:
            doc.set_ents([Span(doc, 0, 1, label=f"L{i % 3}")])
            doc.spans["more"] = [Span(doc, 0, 2, label="long", span_id="id7", kb_id="Q42")]
            doc.cats = {"news": 0.5}
        doc._.language = ["en", "zh", None][i % 3]
        docs.append(doc)
    return docs


def describe(doc):
    spans = {
        key: [(s.start, s.end, s.label_, s.kb_id_, s.id_) for s in group] for key, group in doc.spans.items()
    }
    tokens = [(t.text, t.whitespace_, t.ent_iob_, t.ent_type_, t.norm_) for t in doc]
    return tokens, doc.text, doc._.language, doc.cats, spans, doc.has_unknown_spaces


@pytest.mark.parametrize("n_strings", [3, 200_000])
def test_spacy_reads_what_is_streamed_like_its_own_files(tmp_path, monkeypatch, n_strings):
    monkeypatch.setattr(writer_module, "N_STRINGS", n_strings)
    docs = make_docs(60)
    write_docs(iter(docs), tmp_path / "a.spacy")
    whole = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True, docs=docs)
    read = DocBin().from_disk(tmp_path / "a.spacy")
    assert read.attrs == whole.attrs
    assert read.strings <= whole.strings
    assert list(map(describe, read.get_docs(spacy.blank("xx").vocab))) == list(map(describe, docs))
    # spaCy puts files together.
    read.store_user_data = True
    read.merge(whole)
    assert len(read) == 120


def test_user_data_are_read_as_spacy_reads_them(tmp_path):
    docs = make_docs(12)
    for i, doc in enumerate(docs):
        doc.user_data.update({"array": numpy.arange(i), "list": [1, (2, "b")], "bytes": b"\xff"})
    write_docs(docs, tmp_path / "a.spacy")
    vocab = spacy.blank("xx").vocab
    stored = read_docs(tmp_path / "a.spacy")
    for _ in range(2):
        read = [doc.user_data for doc in stored.get_docs(vocab)]
        expected = [doc.user_data for doc in DocBin().from_disk(tmp_path / "a.spacy").get_docs(vocab)]
        assert [repr(data) for data in read] == [repr(data) for data in expected]
    # Files of others have no user data.
    DocBin(docs=docs).to_disk(tmp_path / "b.spacy")
    assert [doc._.language for doc in read_docs(tmp_path / "b.spacy").get_docs(vocab)] == [None] * 12


def test_strings_are_stored_once_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "N_STRINGS", 2)
    seen = []
    real = writer_module.groupby
    monkeypatch.setattr(
        writer_module, "groupby", lambda strings: [seen.append(s) or (s, g) for s, g in real(strings)]
    )
    write_docs(make_docs(40), tmp_path / "a.spacy")
    assert seen == sorted(set(seen))
    assert {"Maria", "long", "L0", "Q42", "id7"} <= set(seen)


def test_no_documents_make_a_file_that_is_empty(tmp_path):
    write_docs([], tmp_path / "a.spacy")
    assert len(DocBin().from_disk(tmp_path / "a.spacy")) == 0
    with pytest.raises(XnerError, match="XNER103"):
        read_docs(tmp_path / "a.spacy")


def test_a_corpus_beyond_the_format_is_a_coded_error_and_the_old_file_stays(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a.spacy", b"old")
    monkeypatch.setattr(writer_module, "LARGEST", 1000)
    with pytest.raises(XnerError, match="XNER124"):
        write_docs(make_docs(60), tmp_path / "a.spacy")
    assert [path.name for path in tmp_path.iterdir()] == ["a.spacy"]
    assert (tmp_path / "a.spacy").read_bytes() == b"old"
