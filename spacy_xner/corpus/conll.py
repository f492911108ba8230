"""CoNLL-like files: tagged tokens in columns to sentences, and the table of label names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import numbered_lines
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
    """A sentence of a file: tokens, whether a space follows each, and its entities."""

    tokens: list[str]
    spaces: list[bool]
    spans: list[TokenSpan]


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
        raise XnerError(Errors.XNER103.format(path=path))


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
    raise XnerError(Errors.XNER110.format(path=path))


def _split_line(path: Path, number: int, line: str, columns: _Columns) -> tuple[str | None, str]:
    fields = line.split(columns.separator)
    if columns.numbered and not re.fullmatch(r"\d+", fields[0]):
        # "3-4" is a multiword token of CoNLL-U and "3.1" an empty node: their words carry the tags.
        if re.fullmatch(r"\d+[-.]\d+", fields[0]):
            return None, "O"
        raise XnerError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
    if len(fields) < (3 if columns.numbered else 2) or not fields[columns.token].strip():
        raise XnerError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
    tag = fields[columns.tag].strip()
    if not _TAG.fullmatch(tag):
        raise XnerError(Errors.XNER102.format(path=path, line=number, tag=tag))
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
