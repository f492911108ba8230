"""Sentences to spaCy documents and back; DocBin files of documents."""

import copy
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import srsly
from spacy.attrs import ORTH, SPACY
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.writer import DocWriter
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import whole_file
from spacy_xner.tags import TokenSpan, spans_to_tags


def make_doc(vocab: Vocab, sentence: Sentence, language: str, *, labelled: bool = True) -> Doc:
    """Build a document with entities and `doc._.language`; unlabelled ones keep none."""
    register_attributes()
    tags = spans_to_tags(sentence.spans, len(sentence.tokens)) if labelled else None
    doc = Doc(vocab, words=sentence.tokens, spaces=sentence.spaces, ents=tags)
    doc._.language = language
    return doc


def sentence_of(doc: Doc) -> Sentence:
    """Read tokens, spaces and entities back from a document: what `make_doc` builds one from."""
    spans = [TokenSpan(ent.start, ent.end, ent.label_) for ent in doc.ents]
    return Sentence(*_words_of(doc), spans)


def without_annotation(doc: Doc) -> Doc:
    """Copy tokens and language, and nothing else."""
    words, spaces = _words_of(doc)
    return make_doc(doc.vocab, Sentence(words, spaces, []), doc._.language, labelled=False)


def _words_of(doc: Doc) -> tuple[list[str], list[bool]]:
    """Tokens, and whether a space follows each: without an object for every token."""
    array = doc.to_array([ORTH, SPACY])
    strings = doc.vocab.strings
    return [strings[key] for key in array[:, 0].tolist()], array[:, 1].astype(bool).tolist()


def write_docs(docs: Iterable[Doc], path: Path) -> Counter[str]:
    """Write a DocBin beside its place, document by document, and move it there when it is whole.

    RETURNS: Sentences, tokens and entities by label.
    RAISES: XNER703 if the disk is full or cannot be written, XNER124 for more than four gigabytes of tokens.
    """
    counts: Counter[str] = Counter()
    with whole_file(path) as file, DocWriter(path.parent) as writer:
        for doc in docs:
            writer.add(doc)
            counts.update(["sentences", *(ent.label_ for ent in doc.ents)])
            counts["tokens"] += len(doc)
        writer.finish(file)
    return counts


class StoredDocs(DocBin):
    """A DocBin that looks once for plug-ins to decode user data, and not at every document.

    spaCy's takes about a millisecond for a document to find the same ones.
    """

    def get_docs(self, vocab: Vocab) -> Iterator[Doc]:
        """Recover the documents, using the given vocabulary."""
        without_data = copy.copy(self)
        without_data.user_data = []
        hook = None
        for decode in srsly.msgpack_decoders.get_all().values():
            hook = partial(decode, chain=hook)
        # With the other hook given, srsly does not look for plug-ins itself.
        settings = {"raw": False, "use_list": False, "object_hook": hook, "object_pairs_hook": None}
        docs = DocBin.get_docs(without_data, vocab)
        for doc, content in zip(docs, self.user_data, strict=True):
            if content is not None:
                doc.user_data.update(srsly.msgpack.unpackb(content, **settings))
            yield doc


def read_docs(path: Path) -> DocBin:
    """Read a DocBin. RAISES: XNER103 if it is empty, XNER105 if it cannot be read."""
    register_attributes()
    try:
        doc_bin = StoredDocs(store_user_data=True).from_bytes(path.read_bytes())
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise XnerError(Errors.XNER105.format(path=path, reason=error)) from error
    if len(doc_bin) == 0:
        raise XnerError(Errors.XNER103.format(path=path))
    return doc_bin
