"""Convert the bundled sample, `id TAB text` with [text](LABEL:number) marks, to corpus files."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_xner.attributes import register_attributes
from spacy_xner.corpus.docs import write_docs
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import hold, numbered_lines
from spacy_xner.tokenizer import blank_pipeline

_SAMPLE_MARK = re.compile(r"\[([^\[\]]+)\]\((PER|ORG|LOC):(\d+)\)")


class SampleEntity(NamedTuple):
    """An entity of the bundled sample. Units: characters of the unmarked text.

    `link` is the same number in every language for the same entity of the same sentence.
    """

    start: int
    end: int
    label: str
    link: int


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of {lang}.tsv files.")],
    out: Annotated[Path, typer.Argument(help="Folder for the .spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
) -> None:
    """Convert the sample; the split stands in the sentences' identifiers."""
    register_attributes()
    nlp = blank_pipeline()
    total: Counter[str] = Counter()
    with hold(out):
        for path in sorted(folder.glob("*.tsv")):
            if not languages or path.stem in languages.split(","):
                for split, docs in read_docs_by_split(nlp, path).items():
                    total += write_docs(docs, out / f"{path.stem}-sample-{split}.spacy")
                    total["files"] += 1
    msg.good(f"{out}: " + ", ".join(f"{total[name]:,} {name}" for name in sorted(total)))


def read_docs_by_split(nlp: Language, path: Path) -> dict[str, list[Doc]]:
    """Read the documents of a language. RAISES: XNER125 for an entity that cuts a token."""
    by_split: dict[str, list[Doc]] = {}
    for identifier, text, entities in read_sample(path):
        doc = nlp.make_doc(text)
        spans = []
        for entity in entities:
            span = doc.char_span(entity.start, entity.end, entity.label)
            if span is None:
                cut = text[entity.start : entity.end]
                raise XnerError(Errors.XNER125.format(path=path, identifier=identifier, text=cut))
            spans.append(span)
        doc.set_ents(spans)
        doc._.language = path.stem
        by_split.setdefault(identifier.split("-")[0], []).append(doc)
    return by_split


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


if __name__ == "__main__":
    typer.run(main)
