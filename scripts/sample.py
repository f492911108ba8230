"""The bundled sample: `id TAB text` with [text](LABEL:number) marks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import numbered_lines

_SAMPLE_MARK = re.compile(r"\[([^\[\]]+)\]\((PER|ORG|LOC):(\d+)\)")


class SampleEntity(NamedTuple):
    """An entity of the bundled sample. Units: characters of the unmarked text.

    `link` is the same number in every language for the same entity of the same sentence.
    """

    start: int
    end: int
    label: str
    link: int


def read_sample(path: Path) -> Iterator[tuple[str, str, list[SampleEntity]]]:
    """Read a file of the bundled sample: `id TAB text` with [text](LABEL:number) marks.

    RETURNS: Identifier, text without marks, entities, sentence by sentence.
    RAISES: XNER101, XNER103, XNER111.
    """
    n_sentences = 0
    for number, line in numbered_lines(path):
        identifier, tab, marked = line.partition("\t")
        if not tab or not marked:
            raise XnerError(Errors.XNER101.format(path=path, line=number, text=line[:80]))
        text, entities, position = "", [], 0
        for match in _SAMPLE_MARK.finditer(marked):
            text += marked[position : match.start()]
            end = len(text) + len(match[1])
            entities.append(SampleEntity(len(text), end, match[2], int(match[3])))
            text += match[1]
            position = match.end()
        text += marked[position:]
        if "[" in text or "](" in text:
            raise XnerError(Errors.XNER111.format(path=path, line=number, mark=marked[:80]))
        yield identifier, text, entities
        n_sentences += 1
    if n_sentences == 0:
        raise XnerError(Errors.XNER103.format(path=path))
