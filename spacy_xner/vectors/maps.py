"""Folders of two tables that were mapped into one space, with what was measured of the map."""

from pathlib import Path

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import write_json
from spacy_xner.vectors.dictionary import BilingualDictionary
from spacy_xner.vectors.judge import FAILED, Unsupervised
from spacy_xner.vectors.mapping import Precision, precision
from spacy_xner.vectors.table import VectorTable, write_table

SIDES = ("source.safetensors", "target.safetensors")
VERDICT, NO_MAP = "verdict.json", "failed.json"
PRECISION, PRECISION_BACK = "precision.json", "precision-back.json"


def clear_map(folder: Path, *inputs: Path) -> None:
    """Remove what an earlier map left in a folder, which would look like the next one's.

    inputs: Files that the next map is made of.
    RAISES: XNER620 if one of the inputs would be removed.
    """
    old = [(folder / name).resolve() for name in (*SIDES, VERDICT, NO_MAP, PRECISION, PRECISION_BACK)]
    if lost := [path for path in inputs if path.resolve() in old]:
        raise XnerError(Errors.XNER620.format(path=lost[0], folder=folder))
    for path in old:
        path.unlink(missing_ok=True)


def write_map(folder: Path, source: VectorTable, target: VectorTable) -> None:
    """Write both tables of a map."""
    for table, name in zip((source, target), SIDES, strict=True):
        write_table(table, folder / name)


def write_unsupervised(folder: Path, result: Unsupervised) -> None:
    """Write a map that was made without a dictionary, with its verdict; one that failed has no tables."""
    has_failed = result.verdict == FAILED
    if not has_failed:
        write_map(folder, result.source, result.target)
    content = {"verdict": result.verdict, **result.evidence}
    write_json(folder / (NO_MAP if has_failed else VERDICT), content)


def measure_map(
    source: VectorTable, target: VectorTable, entries: BilingualDictionary, out: Path | None = None
) -> dict[str, Precision]:
    """Measure precision by cosine and by CSLS.

    out: JSON file for the result; it is not written if no entry can be looked up.
    """
    measured = {
        name: precision(source, target, entries, csls=csls)
        for name, csls in (("cosine", False), ("CSLS", True))
    }
    if out is not None and measured["CSLS"].n_words:
        write_json(out, {name: result._asdict() for name, result in measured.items()})
    return measured
