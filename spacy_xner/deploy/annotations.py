"""Annotated documents into files of four formats, written in parts that are put together at the end."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.deploy.texts import import_pyarrow
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import whole_file

# Formats by the ends of file names.
OUTPUTS = {".jsonl": "jsonl", ".spacy": "docbin", ".conll": "conll", ".tsv": "conll", ".parquet": "parquet"}


class Annotated(NamedTuple):
    """A document with the other fields of its row."""

    doc: Doc
    fields: dict[str, Any]


def output_format(path: Path) -> str:
    """The format of a file to write. RAISES: XNER710 for a name that tells none."""
    try:
        return OUTPUTS[path.suffix]
    except KeyError:
        raise XnerError(Errors.XNER710.format(path=path, known=", ".join(OUTPUTS))) from None


def describe(annotated: Annotated) -> dict[str, Any]:
    """A document as JSON: its row's fields, text, language, cluster, and entities by characters.

    Fields of the row that have the names of these are kept as `input_NAME`.
    """
    doc, fields = annotated
    described = {
        "text": doc.text,
        "language": doc._.language,
        "cluster": doc._.cluster,
        "ents": [
            {
                "start": ent.start_char, "end": ent.end_char, "label": ent.label_, "text": ent.text,
                "score": None if ent._.score is None else round(ent._.score, 4),
            }
            for ent in doc.ents
        ],
    }  # fmt: skip
    return {
        **{f"input_{key}" if key in described else key: value for key, value in fields.items()},
        **described,
    }


def write_part(rows: Sequence[Annotated], path: Path, kind: str) -> None:
    """Write a part as a whole. RAISES: XNER703."""
    if kind == "docbin":
        write_docs((row.doc for row in rows), path)
    elif kind == "parquet":
        _write_parquet(rows, path)
    else:
        lines = map(_json_line, rows) if kind == "jsonl" else map(_conll_lines, rows)
        with whole_file(path) as file:
            for line in lines:
                file.write(line.encode("utf-8"))


def merge_parts(parts: Sequence[Path], out: Path, kind: str) -> None:
    """Put parts together to one file, without more than one part in memory. RAISES: XNER703."""
    if kind == "docbin":
        write_docs(_docs_of(parts), out)
        return
    with whole_file(out) as file:
        if kind == "parquet":
            _merge_parquet(parts, file)
            return
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, file)


def _json_line(row: Annotated) -> str:
    return json.dumps(describe(row), ensure_ascii=False, default=str) + "\n"


def _conll_lines(row: Annotated) -> str:
    """Tokens with IOB2 tags; tokens of white space have no line, which would end the sentence."""
    lines = [
        f"{token.text}\t{f'{token.ent_iob_}-{token.ent_type_}' if token.ent_type_ else 'O'}\n"
        for token in row.doc
        if not token.is_space
    ]
    return "".join([*lines, "\n"]) if lines else ""


def _docs_of(parts: Iterable[Path]) -> Iterator[Doc]:
    vocab = Vocab()
    for part in parts:
        yield from read_docs(part).get_docs(vocab)


def _write_parquet(rows: Sequence[Annotated], path: Path) -> None:
    arrow, parquet = import_pyarrow()
    with whole_file(path) as file:
        parquet.write_table(arrow.Table.from_pylist([_flat(row) for row in rows]), file)


def _flat(row: Annotated) -> dict[str, Any]:
    # Columns have one type each: whatever a row brings along is text, entities are a list of their own.
    described = describe(row)
    entities = described.pop("ents")
    fixed = ("text", "language", "cluster")
    return {
        **{key: value if key in fixed or value is None else str(value) for key, value in described.items()},
        "ents": json.dumps(entities, ensure_ascii=False),
    }


def _merge_parquet(parts: Sequence[Path], file: Any) -> None:
    arrow, parquet = import_pyarrow()
    if not parts:
        parquet.write_table(arrow.table({"text": arrow.array([], arrow.string())}), file)
        return
    tables = [parquet.read_schema(part) for part in parts]
    # A column that is empty throughout a part has no type there.
    schema = arrow.unify_schemas(tables, promote_options="permissive")
    with parquet.ParquetWriter(file, schema) as writer:
        for part in parts:
            table = parquet.read_table(part)
            for name in set(schema.names) - set(table.column_names):
                table = table.append_column(name, arrow.nulls(len(table), schema.field(name).type))
            writer.write_table(table.select(schema.names).cast(schema))
