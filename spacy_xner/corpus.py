"""Corpora: CoNLL-like files to spaCy documents, and a reader that mixes languages."""

import gzip
import lzma
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy
from pydantic import Field
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_xner.attributes import SOURCE_KEY, is_labelled, register_attributes
from spacy_xner.errors import Errors, Warnings
from spacy_xner.tags import TokenSpan, spans_to_tags, tags_to_spans

# Names that corpora give to the four CoNLL types; an empty value drops the label.
LABEL_TABLE: dict[str, str] = {
    "PER": "PER",
    "PERSON": "PER",
    "ORG": "ORG",
    "ORGANIZATION": "ORG",
    "LOC": "LOC",
    "LOCATION": "LOC",
    "GPE": "LOC",
    "FAC": "LOC",
    "MISC": "MISC",
    "MIS": "MISC",
    "PRO": "MISC",
    "EVENT": "MISC",
    "OTH": "MISC",
    "DATE": "",
}
UNSPACED_LANGUAGES = frozenset({"ja", "zh"})
_TAG = re.compile(r"O|[BIES]-\S+")
_SAMPLE_MARK = re.compile(r"\[([^\[\]]+)\]\((PER|ORG|LOC):(\d+)\)")


class Sentence(NamedTuple):
    """A sentence of a file: tokens, whether a space follows each, and its entities."""

    tokens: list[str]
    spaces: list[bool]
    spans: list[TokenSpan]


class SampleEntity(NamedTuple):
    """An entity of the bundled sample. Units: characters of the unmarked text.

    `link` is the same number in every language for the same entity of the same sentence.
    """

    start: int
    end: int
    label: str
    link: int


class _Columns(NamedTuple):
    separator: str | None
    token: int
    tag: int
    numbered: bool


def read_tagged(path: Path, language: str) -> Iterator[Sentence]:
    """Read a CoNLL-like file: one token a line, an empty line ends a sentence.

    Columns are recognised from the first lines: `token tag`, `index token tag`, CoNLL-2003 and Universal
    NER, with comments, -DOCSTART- lines, extra columns and gzip. An I- tag that starts an entity counts as
    a new one. `# text` comments and, for Japanese and Chinese, the character tokens give back the text
    as it was written.

    RAISES: XNER101 to XNER104, XNER108, XNER110, with file and line.
    """
    columns: _Columns | None = None
    # Underscores of languages are hyphens there.
    prefix = re.compile("^" + re.escape(language).replace("_", "[-_]") + ":")
    n_fields = 0
    tokens: list[str] = []
    tags: list[str] = []
    text: str | None = None
    n_sentences = 0
    for number, line in numbered_lines(path):
        if not line.strip():
            if tokens:
                yield _make_sentence(tokens, tags, text, language)
                n_sentences += 1
            tokens, tags, text = [], [], None
            continue
        if line.startswith("#") and _is_comment(line, n_fields):
            text = line[len("# text = ") :] if line.startswith("# text = ") else text
            continue
        if line.startswith("-DOCSTART-"):
            continue
        if columns is None:
            columns = _recognise_columns(path, line)
            n_fields = len(line.split(" ")) if columns.separator == " " else 0
        token, tag = _split_line(path, number, line, columns)
        if token is not None:
            # PAN-X's own files write every token as `en:token`.
            tokens.append(prefix.sub("", token) or token)
            tags.append(tag)
    if tokens:
        yield _make_sentence(tokens, tags, text, language)
        n_sentences += 1
    if n_sentences == 0:
        raise ValueError(Errors.XNER103.format(path=path))


def read_sample(path: Path) -> Iterator[tuple[str, str, list[SampleEntity]]]:
    """Read a file of the bundled sample: `id TAB text` with [text](LABEL:number) marks.

    RETURNS: Identifier, text without marks, entities, sentence by sentence.
    RAISES: XNER101, XNER103, XNER111.
    """
    n_sentences = 0
    for number, line in numbered_lines(path):
        identifier, tab, marked = line.partition("\t")
        if not tab or not marked:
            raise ValueError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
        text, entities, position = "", [], 0
        for match in _SAMPLE_MARK.finditer(marked):
            text += marked[position : match.start()]
            end = len(text) + len(match[1])
            entities.append(SampleEntity(len(text), end, match[2], int(match[3])))
            text += match[1]
            position = match.end()
        text += marked[position:]
        if "[" in text or "](" in text:
            raise ValueError(Errors.XNER111.format(path=path, line=number, mark=marked[:80]))
        yield identifier, text, entities
        n_sentences += 1
    if n_sentences == 0:
        raise ValueError(Errors.XNER103.format(path=path))


def map_labels(
    spans: Iterable[TokenSpan],
    table: Mapping[str, str],
    *,
    unknown: Literal["error", "drop", "keep"] = "error",
    where: str = "",
) -> list[TokenSpan]:
    """Rename labels by a table, dropping those whose new name is empty.

    RAISES: XNER107 for a label outside of the table where `unknown` is "error".
    """
    mapped = []
    for span in spans:
        if span.label not in table and unknown == "error":
            known = ", ".join(sorted(table))
            raise ValueError(Errors.XNER107.format(where=where, label=span.label, known=known))
        label = table.get(span.label, span.label if unknown == "keep" else "")
        if label:
            mapped.append(span._replace(label=label))
    return mapped


def make_doc(vocab: Vocab, sentence: Sentence, language: str, *, labelled: bool = True) -> Doc:
    """Build a document with entities and `doc._.language`; unlabelled ones keep none."""
    register_attributes()
    tags = spans_to_tags(sentence.spans, len(sentence.tokens)) if labelled else None
    doc = Doc(vocab, words=sentence.tokens, spaces=sentence.spaces, ents=tags)
    doc._.language = language
    return doc


def sentence_of(doc: Doc) -> Sentence:
    """Read tokens, spaces and entities back from a document: what `make_doc` builds one from."""
    return Sentence(
        [token.text for token in doc],
        [bool(token.whitespace_) for token in doc],
        [TokenSpan(ent.start, ent.end, ent.label_) for ent in doc.ents],
    )


def write_docs(docs: Iterable[Doc], path: Path) -> Counter[str]:
    """Write a DocBin beside its place and move it there when it is whole.

    RETURNS: Sentences, tokens and entities by label.
    """
    doc_bin = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    counts: Counter[str] = Counter()
    for doc in docs:
        doc_bin.add(doc)
        counts.update(["sentences", *(ent.label_ for ent in doc.ents)])
        counts["tokens"] += len(doc)
    write_bytes(path, doc_bin.to_bytes())
    return counts


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may write the same file.
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    half.write_bytes(content)
    half.replace(path)


def read_docs(path: Path) -> DocBin:
    """Read a DocBin. RAISES: XNER103 if it is empty, XNER105 if it cannot be read."""
    register_attributes()
    try:
        doc_bin = DocBin(store_user_data=True).from_bytes(path.read_bytes())
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise ValueError(Errors.XNER105.format(path=path, reason=error)) from error
    if len(doc_bin) == 0:
        raise ValueError(Errors.XNER103.format(path=path))
    return doc_bin


def create_multilingual_corpus(
    path: Path,
    split: str | None = None,
    languages: list[str] | None = None,
    sources: list[str] | None = None,
    unlabelled: list[str] | None = None,
    limit: Annotated[int, Field(ge=0)] = 0,
    temperature: float = 1.0,
    gold_tokens: bool = True,
    known_language: bool = True,
    held_out: Path | None = None,
    seed: int = 0,
) -> "MultilingualCorpus":
    """Create a reader of `{lang}-{source}-{split}.spacy` files; see `MultilingualCorpus`."""
    return MultilingualCorpus(
        path,
        split=split,
        languages=languages or [],
        sources=sources or [],
        unlabelled=unlabelled or [],
        limit=limit,
        temperature=temperature,
        gold_tokens=gold_tokens,
        known_language=known_language,
        held_out=held_out,
        seed=seed,
    )


class MultilingualCorpus:
    """Mix the documents of several languages into one stream of examples.

    path: A folder of `{lang}-{source}-{split}.spacy` files, or one file.
    split: Which files of the folder; all of them if None.
    languages, sources: Which languages and sources of the folder; all of them if empty.
    unlabelled: Languages whose annotation is withheld: text for auxiliary objectives.
    limit: The first so many documents of each file; 0 takes all.
    temperature: 1 keeps the sizes, greater values even them out: language l gets a share proportional
        to size ** (1 / temperature) of the same total, by repeating or leaving out documents.
    gold_tokens: Predict on the corpus' tokens; otherwise on those of the pipeline's tokenizer.
    known_language: Tell the pipeline the language; otherwise its identifier has to find it.
    held_out: File or folder (split test) whose sentences are dropped from this corpus.
    seed: Of the order in which languages are mixed.
    """

    def __init__(
        self,
        path: Path,
        *,
        split: str | None,
        languages: list[str],
        sources: list[str],
        unlabelled: list[str],
        limit: int,
        temperature: float,
        gold_tokens: bool,
        known_language: bool,
        held_out: Path | None,
        seed: int,
    ) -> None:
        if temperature < 1:
            raise ValueError(Errors.XNER112.format(temperature=temperature))
        register_attributes()
        self.path = Path(path)
        self.split = split
        self.languages = list(languages)
        self.sources = list(sources)
        self.unlabelled = frozenset(unlabelled)
        self.limit = limit
        self.temperature = temperature
        self.gold_tokens = gold_tokens
        self.known_language = known_language
        self.held_out = Path(held_out) if held_out else None
        self.seed = seed

    def __call__(self, nlp: Language) -> Iterator[Example]:
        files = find_files(self.path, self.split, self.languages, self.sources)
        streams = {lang: self._read_language(nlp.vocab, paths) for lang, paths in files.items()}
        languages = list(streams)
        sizes = numpy.array([len(streams[lang]) for lang in languages])
        shares = sample_sizes(sizes, self.temperature)
        order = numpy.repeat(numpy.arange(len(languages)), shares)
        numpy.random.default_rng(self.seed).shuffle(order)
        position = dict.fromkeys(languages, 0)
        for i in order:
            lang = languages[i]
            docs = streams[lang]
            reference = docs[position[lang] % len(docs)]
            position[lang] += 1
            yield self._make_example(nlp, reference)

    def _read_language(self, vocab: Vocab, paths: list[Path]) -> list[Doc]:
        held_out = self._held_out_texts(vocab)
        docs: list[Doc] = []
        for path in paths:
            fresh = list(read_docs(path).get_docs(vocab))
            kept = [doc for doc in fresh if doc.text not in held_out]
            if len(kept) < len(fresh):
                n = len(fresh) - len(kept)
                warnings.warn(Warnings.W103.format(n=n, total=len(fresh), path=path), stacklevel=2)
            docs.extend(kept[: self.limit] if self.limit else kept)
        if not docs:
            raise ValueError(Errors.XNER103.format(path=", ".join(map(str, paths))))
        return docs

    def _held_out_texts(self, vocab: Vocab) -> set[str]:
        if self.held_out is None:
            return set()
        files = find_files(self.held_out, "test", [])
        paths = [path for group in files.values() for path in group]
        return {doc.text for path in paths for doc in read_docs(path).get_docs(vocab)}

    def _make_example(self, nlp: Language, reference: Doc) -> Example:
        if reference._.language in self.unlabelled:
            reference = without_annotation(reference)
        predicted = without_annotation(reference) if self.gold_tokens else nlp.make_doc(reference.text)
        predicted._.language = reference._.language if self.known_language else None
        if SOURCE_KEY in reference.user_data:
            # The parallel document is what a projector reads, no annotation.
            predicted.user_data[SOURCE_KEY] = reference.user_data[SOURCE_KEY]
        return Example(predicted, reference)


def create_alternating_batcher(
    size: Annotated[int, Field(ge=1)],
    unlabelled_size: Annotated[int, Field(ge=1)] | None = None,
    keep_surplus: bool = True,
) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Create a batcher of labelled and unlabelled minibatches in turn; see `alternate_batches`.

    size, unlabelled_size: Documents a batch; the second is the first if it is not given.
    """

    def batch(examples: Iterable[Example]) -> Iterator[list[Example]]:
        return alternate_batches(examples, size, unlabelled_size or size, keep_surplus=keep_surplus)

    return batch


def alternate_batches(
    examples: Iterable[Example], size: int, unlabelled_size: int, *, keep_surplus: bool = True
) -> Iterator[list[Example]]:
    """Cut a mixed stream into labelled and unlabelled minibatches, in turn as long as there are both.

    keep_surplus: Go on with unlabelled minibatches where labelled ones are rare or at their end; without it
        a labelled minibatch is followed by at most one unlabelled one, of the newest documents. spaCy
        shuffles every pass anew, so that the next one takes others.
    SOURCE: Moon et al. 2019, "Multi-task Learning": minibatches of the tasks take turns.
    """
    waiting: dict[bool, list[Example]] = {True: [], False: []}
    sizes = {True: size, False: unlabelled_size}
    limits = {kind: 4 * sizes[kind] for kind in sizes}
    turn = True

    def take(kind: bool) -> list[Example]:
        batch, waiting[kind] = waiting[kind][: sizes[kind]], waiting[kind][sizes[kind] :]
        return batch

    for example in examples:
        waiting[is_labelled(example.reference)].append(example)
        if not keep_surplus:
            del waiting[False][: -limits[False]]
        while True:
            kind = turn
            if len(waiting[turn]) < sizes[turn]:
                # The other kind goes on alone where this one is rare.
                kind = not turn
                if len(waiting[kind]) < limits[kind] or not (kind or keep_surplus):
                    break
            yield take(kind)
            turn = not kind
    while waiting[True] or (waiting[False] and (keep_surplus or not turn)):
        kind = turn if waiting[turn] else not turn
        yield take(kind)
        turn = not kind


def without_annotation(doc: Doc) -> Doc:
    """Copy tokens and language, and nothing else."""
    return make_doc(doc.vocab, sentence_of(doc), doc._.language, labelled=False)


def file_language(name: str) -> str:
    """A language as it stands in file names, where a hyphen ends it: zh_yue of zh-yue."""
    return name.replace("-", "_")


def find_files(
    path: Path, split: str | None, languages: Sequence[str], sources: Sequence[str] = ()
) -> dict[str, list[Path]]:
    """Find the corpus files of every language.

    sources: All by default, but for what is made of another one there: en-news.fi-train has en-news-train in
        Finnish words, and is read where it is named.
    RAISES: XNER106 if a language has none, or if there are none at all.
    """
    if path.is_file():
        return {path.name.split("-")[0]: [path]}
    pattern = f"*-{split}.spacy" if split else "*.spacy"
    files: dict[str, list[Path]] = {}
    for found in sorted(path.glob(pattern)):
        language, _, rest = found.stem.partition("-")
        if rest.rpartition("-")[0] in sources if sources else not _is_derived(found):
            files.setdefault(language, []).append(found)
    missing = [lang for lang in languages if lang not in files]
    if missing or not files:
        names = ", ".join(p.name for group in files.values() for p in group) or "none"
        raise ValueError(
            Errors.XNER106.format(pattern=path / pattern, missing=", ".join(missing) or "any", found=names)
        )
    return {lang: files[lang] for lang in (languages or files)}


def _is_derived(path: Path) -> bool:
    """True for a corpus beside the one that it is made of."""
    name, _, split = path.stem.rpartition("-")
    base, dot, _ = name.rpartition(".")
    return bool(dot) and path.with_name(f"{base}-{split}.spacy").exists()


def sample_sizes(sizes: numpy.ndarray, temperature: float) -> numpy.ndarray:
    """Share the same total out among languages by size ** (1 / temperature).

    sizes: Documents per language. Shape: (n_languages,).
    RETURNS: Documents to take per language, at least 1. Shape: (n_languages,).
    SOURCE: Devlin et al. 2019, multilingual BERT's exponentially smoothed sampling.
    """
    if temperature == 1:
        return sizes
    weights = sizes ** (1 / temperature)
    return numpy.maximum(1, numpy.rint(sizes.sum() * weights / weights.sum())).astype("int64")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a text file, from 1; gzip and xz by the name.

    RAISES: XNER104 for other encodings than UTF-8 or files that are not packed as they are named, XNER108 for
        a file that ends in the middle.
    """
    openers: dict[str, Callable] = {".gz": gzip.open, ".xz": lzma.open}
    opener = openers.get(path.suffix, open)
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        if "unexpected end of data" in error.reason:
            raise ValueError(Errors.XNER108.format(path=path, line=number + 1)) from error
        raise ValueError(Errors.XNER104.format(path=path, reason=error.reason)) from error
    except EOFError as error:
        raise ValueError(Errors.XNER108.format(path=path, line=number + 1)) from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise ValueError(Errors.XNER104.format(path=path, reason=error)) from error


def _is_comment(line: str, n_fields: int) -> bool:
    """True for `# key = value` and bare comments, False for a token `#` with its tag.

    n_fields: Of the lines before, 0 if there are none.
    """
    fields = line.split(" ")
    is_row = len(fields) in (2, n_fields) and _TAG.fullmatch(fields[-1])
    return "\t" not in line and (not is_row or bool(re.match(r"# \w+ = ", line)))


def _recognise_columns(path: Path, line: str) -> _Columns:
    separator = "\t" if "\t" in line else " "
    fields = line.split(separator)
    if len(fields) >= 3 and separator == "\t" and re.fullmatch(r"\d+", fields[0]):
        return _Columns(separator, 1, 2, True)
    if len(fields) >= 2 and _TAG.fullmatch(fields[-1]):
        return _Columns(separator, 0, -1, False)
    if len(fields) >= 2:
        return _Columns(separator, 0, 1, False)
    raise ValueError(Errors.XNER110.format(path=path))


def _split_line(path: Path, number: int, line: str, columns: _Columns) -> tuple[str | None, str]:
    fields = line.split(columns.separator)
    if columns.numbered and not re.fullmatch(r"\d+", fields[0]):
        # "3-4" is a multiword token of CoNLL-U and "3.1" an empty node: their words carry the tags.
        if re.fullmatch(r"\d+[-.]\d+", fields[0]):
            return None, "O"
        raise ValueError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
    if len(fields) < (3 if columns.numbered else 2) or not fields[columns.token].strip():
        raise ValueError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
    tag = fields[columns.tag].strip()
    if not _TAG.fullmatch(tag):
        raise ValueError(Errors.XNER102.format(path=path, line=number, tag=tag))
    return fields[columns.token], tag


def _make_sentence(tokens: list[str], tags: list[str], text: str | None, language: str) -> Sentence:
    spaces = _spaces_of_text(tokens, text) if text is not None else None
    if spaces is None and language in UNSPACED_LANGUAGES:
        if all(len(token) == 1 for token in tokens):
            tokens, spaces, tags = _restore_characters(tokens, tags)
        else:
            spaces = [False] * len(tokens)
    if spaces is None:
        spaces = [True] * (len(tokens) - 1) + [False]
    return Sentence(tokens, spaces, tags_to_spans(tags))


def _restore_characters(tokens: list[str], tags: list[str]) -> tuple[list[str], list[bool], list[str]]:
    """Turn WikiAnn's lone `#` tagged O, which stands for a space, into a space.

    The entity around such a space goes on: its tags touch once the `#` is gone.
    """
    kept: list[int] = []
    spaced: set[int] = set()
    for i, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        if token == "#" and tag == "O" and len(tokens) > 1:
            if kept:
                spaced.add(kept[-1])
        else:
            kept.append(i)
    if not kept:
        return tokens, [False] * len(tokens), tags
    return (
        [tokens[i] for i in kept],
        [i in spaced and i != kept[-1] for i in kept],
        [tags[i] for i in kept],
    )


def _spaces_of_text(tokens: list[str], text: str) -> list[bool] | None:
    """Find where the text has spaces; None if its tokens are not those of the text."""
    spaces, position = [], 0
    for token in tokens:
        if not text.startswith(token, position):
            return None
        position += len(token)
        spaces.append(text.startswith((" ", "\u00a0", "\u3000"), position))
        position += len(text[position:]) - len(text[position:].lstrip())
    return spaces
