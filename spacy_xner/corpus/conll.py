"""CoNLL-like files: tagged tokens in columns to sentences, and the table of label names."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.files import raw_lines
from spacy_xner.tags import TokenSpan, tags_to_spans

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


class Sentence(NamedTuple):
    """A sentence of a file.

    spaces: Whether a space follows each token.
    line: The line of the file where it begins, 0 if it is of no file.
    """

    tokens: list[str]
    spaces: list[bool]
    spans: list[TokenSpan]
    line: int = 0


class _Columns(NamedTuple):
    """Where a file has its tokens and tags.

    number: Columns of each row; 0 where an index tells rows from others.
    """

    separator: str
    token: int
    tag: int
    number: int


def read_tagged(path: Path, language: str) -> Iterator[Sentence]:
    """Read a CoNLL-like file: one token a line, an empty line ends a sentence.

    Columns are recognised from the first row: `token tag`, `index token tag`, CoNLL-2003 and Universal
    NER, with comments, -DOCSTART- lines, extra columns and gzip. An I- tag that starts an entity counts as
    a new one. `# text` comments and, for Japanese and Chinese, the character tokens give back the text
    as it was written. Columns after an index may hold nested annotation; the first such column is read.

    RAISES: XNER101 to XNER104, XNER108, XNER110, XNER116 and XNER117, with file and line.
    """
    reader = _TaggedReader(path, language)
    for number, line in raw_lines(path):
        if (sentence := reader.read(number, line)) is not None:
            yield sentence
    if (sentence := reader.end()) is not None:
        yield sentence
    reader.report()


class _TaggedReader:
    """Puts the lines of a tagged file together to sentences, and counts what is worth a warning."""

    def __init__(self, path: Path, language: str) -> None:
        self.path = path
        self.language = language
        # PAN-X's own files write every token as `en:token`; underscores of languages are hyphens there.
        self.prefix = re.compile("^" + re.escape(language).replace("_", "[-_]") + ":")
        self.columns: _Columns | None = None
        self.tokens: list[str] = []
        self.tags: list[str] = []
        self.text: str | None = None
        self.begin = 0
        self.last_line = ""
        self.n_sentences = 0
        self.n_hashes = 0
        self.labels: Counter[str] = Counter()
        self.other_texts: list[int] = []

    def read(self, number: int, line: str) -> Sentence | None:
        """Read a line. RETURNS: The sentence that it ends."""
        self.last_line = line
        line = line.rstrip("\r\n")
        if not line.strip():
            return self.end()
        n_fields = self.columns.number if self.columns and self.columns.separator == " " else 0
        if line.startswith("#") and _is_comment(line, n_fields):
            self.text = line[len("# text = ") :] if line.startswith("# text = ") else self.text
        elif not line.startswith("-DOCSTART-"):
            if self.columns is None:
                self.columns = _recognise_columns(self.path, number, line)
            token, tag = _split_line(self.path, number, line, self.columns)
            if token is not None:
                self.begin = self.begin or number
                if ":" in token:
                    token = self.prefix.sub("", token).strip() or token
                self.tokens.append(token)
                self.tags.append(tag)
                self.labels[tag[2:]] += 1
        return None

    def end(self) -> Sentence | None:
        """End a sentence. RETURNS: The sentence, None if it has no tokens."""
        sentence = self._make_sentence() if self.tokens else None
        self.tokens, self.tags, self.text, self.begin = [], [], None, 0
        return sentence

    def report(self) -> None:
        """Warn of what was read in some way that may be wrong. RAISES: XNER103 if there was no sentence."""
        if self.n_sentences == 0:
            raise XnerError(Errors.XNER103.format(path=self.path))
        label = _label_of(self.last_line)
        if label and not self.last_line.endswith(("\n", "\r")) and self.labels[label] == 1:
            warnings.warn(Warnings.W104.format(path=self.path, label=label), stacklevel=3)
        if self.other_texts:
            n, line = len(self.other_texts), self.other_texts[0]
            message = Warnings.W105.format(n=n, total=self.n_sentences, path=self.path, line=line)
            warnings.warn(message, stacklevel=3)
        if self.n_hashes:
            warnings.warn(Warnings.W106.format(n=self.n_hashes, path=self.path), stacklevel=3)

    def _make_sentence(self) -> Sentence:
        tokens, tags, spaces = self.tokens, self.tags, None
        self.n_sentences += 1
        if self.text is not None:
            spaces = _spaces_of_text(tokens, self.text)
            if spaces is None:
                self.other_texts.append(self.begin)
        if spaces is None and self.language in UNSPACED_LANGUAGES:
            if all(len(token) == 1 for token in tokens):
                tokens, spaces, tags = _restore_characters(tokens, tags)
                self.n_hashes += len(self.tokens) - len(tokens)
            else:
                spaces = [False] * len(tokens)
        if spaces is None:
            spaces = [True] * (len(tokens) - 1) + [False]
        return Sentence(tokens, spaces, tags_to_spans(tags), self.begin)


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
            raise XnerError(Errors.XNER107.format(where=where, label=span.label, known=known))
        label = table.get(span.label, span.label if unknown == "keep" else "")
        if label:
            mapped.append(span._replace(label=label))
    return mapped


def _is_comment(line: str, n_fields: int) -> bool:
    """True for `# key = value` and bare comments, False for a token `#` with its tag.

    n_fields: Columns of a row, 0 if they are not known.
    """
    fields = line.split(" ")
    is_row = len(fields) in (2, n_fields) and _TAG.fullmatch(fields[-1])
    return "\t" not in line and (not is_row or bool(re.match(r"# \w+ = ", line)))


def _recognise_columns(path: Path, number: int, line: str) -> _Columns:
    separator = "\t" if "\t" in line else " "
    fields = _fields(line, separator)
    if len(fields) >= 3 and separator == "\t" and re.fullmatch(r"\d+", fields[0]):
        return _Columns(separator, 1, 2, 0)
    if len(fields) >= 3 and _TAG.fullmatch(fields[1]) and _TAG.fullmatch(fields[-1]):
        raise XnerError(Errors.XNER117.format(path=path, line=number, text=line[:80]))
    if len(fields) >= 2 and _TAG.fullmatch(fields[-1]):
        return _Columns(separator, 0, -1, len(fields))
    if len(fields) >= 2:
        return _Columns(separator, 0, 1, len(fields))
    raise XnerError(Errors.XNER110.format(path=path))


def _fields(line: str, separator: str) -> list[str]:
    # Columns may be lined up by several spaces.
    return line.split("\t") if separator == "\t" else re.split(" +", line.strip(" "))


def _split_line(path: Path, number: int, line: str, columns: _Columns) -> tuple[str | None, str]:
    fields = _fields(line, columns.separator)
    is_numbered = columns.number == 0
    if is_numbered and not re.fullmatch(r"\d+", fields[0]):
        # "3-4" is a multiword token of CoNLL-U and "3.1" an empty node: their words carry the tags.
        if re.fullmatch(r"\d+[-.]\d+", fields[0]):
            return None, "O"
        raise XnerError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
    if len(fields) < (3 if is_numbered else 2) or not fields[columns.token].strip():
        raise XnerError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
    if not is_numbered and len(fields) != columns.number:
        message = Errors.XNER116.format(
            path=path, line=number, expected=columns.number, found=len(fields), text=line[:80]
        )
        raise XnerError(message)
    tag = fields[columns.tag].strip()
    if not _TAG.fullmatch(tag):
        raise XnerError(Errors.XNER102.format(path=path, line=number, tag=tag))
    return fields[columns.token].strip(), tag


def _label_of(line: str) -> str:
    """The label at the end of a row; empty if there is none."""
    match = re.search(r"\s[BIES]-(\S+)\s*$", line)
    return match[1] if match else ""


def _restore_characters(tokens: list[str], tags: list[str]) -> tuple[list[str], list[bool], list[str]]:
    """Turn WikiAnn's lone `#` tagged O, which stands for a space, into a space.

    The entity around such a space goes on: its tags touch once the `#` is gone.
    """
    characters: list[int] = []
    before_space: set[int] = set()
    for i, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        if token == "#" and tag == "O" and len(tokens) > 1:
            before_space.update(characters[-1:])
        else:
            characters.append(i)
    if not characters:
        return tokens, [False] * len(tokens), tags
    return (
        [tokens[i] for i in characters],
        [i in before_space and i != characters[-1] for i in characters],
        [tags[i] for i in characters],
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
