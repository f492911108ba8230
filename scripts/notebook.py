"""The notebook of the documentation: running it, and comparing or storing what its cells print."""

import os
import re
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "tutorials" / "notebook.ipynb"
# Tags of cells whose outputs depend on what a training learnt. Machines differ a little in that.
NUMBERS, ENTITIES = "learnt-numbers", "learnt-entities"


def run_notebook(path: Path, folder: Path, timeout: int = 900) -> Any:
    """Run all cells in a new process that begins in a folder; a cell that fails raises.

    timeout: Most seconds for one cell.
    RETURNS: The notebook with the outputs of this run, without progress bars.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbformat.v4 import new_output

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # Messages name files by their whole paths, which differ from machine to machine.
            text = printed(cell).replace(f"{folder.resolve() / 'training' / 'notebook'}{os.sep}", "")
            cell.outputs = [new_output("stream", name="stdout", text=text)] if text else []
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def printed(cell: Any) -> str:
    """The text that a cell wrote to standard output, without spaces at the ends of lines."""
    text = "".join(
        "".join(output["text"])
        for output in cell["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def compare(stored: Any, fresh: Any) -> list[str]:
    """Compare the outputs of two runs of a notebook.

    RETURNS: A line for each cell whose output differs: the whole text by default, the text without its
    numbers in cells with the tag `learnt-numbers`, the number of lines in those with `learnt-entities`.
    """
    differing = []
    for cell, other in zip(stored["cells"], fresh["cells"], strict=True):
        if cell["cell_type"] == "code":
            tags = cell["metadata"].get("tags", [])
            shown, new = comparable(printed(cell), tags), comparable(printed(other), tags)
            if shown != new:
                differing.append(f"{cell['id']}: stored {shown!r}, printed {new!r}")
    return differing


def comparable(text: str, tags: list[str]) -> str:
    """The part of an output that every machine prints alike; see `compare`."""
    if ENTITIES in tags:
        return str(len(text.splitlines()))
    if NUMBERS in tags:
        # A wider number widens its column, the rule below its title, and the line that wraps.
        text = re.sub(r"\d[\d.,]*", "#", re.sub(r"-{2,}", "--", text))
    return " ".join(text.split())


def store(notebook: Any, path: Path) -> None:
    """Write a notebook as text that changes only where its cells change."""
    import nbformat

    from spacy_xner.files import write_text

    write_text(path, nbformat.writes(notebook, indent=1) + "\n")
