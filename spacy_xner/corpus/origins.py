"""The corpora that weights and annotations go back to, so that their licences are known.

Entities that a program has written come from the corpora that it learnt from: their names are in the user
data of every document, which stays when corpora are copied, mixed or separated.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import srsly
from spacy.tokens import Doc, DocBin
from thinc.api import Config

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import file_source, find_files
from spacy_xner.errors import XnerError

# Names of corpora in `doc.user_data`.
TAUGHT_KEY = "xner_taught_by"
# Stand-ins where there is no name of a corpus; no corpus has such a name.
UNKNOWN = "(what the teacher of its entities learnt from)"
DICTIONARY = "(dictionary {name})"


def mark_taught(doc: Doc, names: Iterable[str]) -> None:
    """Write on a document which corpora the program that annotated it goes back to."""
    doc.user_data[TAUGHT_KEY] = sorted(names)


def taught_by(docs: DocBin) -> set[str]:
    """Read the marks of a file's documents; none of documents that people annotated."""
    key = TAUGHT_KEY.encode()
    # Equal documents but for their text have equal user data: few are unpacked.
    marked = {content for content in docs.user_data if content and key in content}
    names: set[str] = set()
    for content in marked:
        value = srsly.msgpack_loads(content, use_list=False).get(TAUGHT_KEY)
        names.update(map(str, value if isinstance(value, list | tuple) else ()))
    return names


def training_reader(config: Config) -> dict[str, Any]:
    """The settings of the training corpus; none for a pipeline that was put together."""
    try:
        return dict(config.interpolate().get("corpora", {}).get("train", {}))
    except ValueError:  # The config names a section that is not there any more.
        return {}


def training_folder(reader: Mapping[str, Any]) -> Path | None:
    """The folder of the training corpus; none if it is not there any more."""
    folder = Path(str(reader.get("path") or ""))
    return folder if reader.get("path") and folder.is_dir() else None


def used_corpora(reader: Mapping[str, Any], folder: Path) -> set[str]:
    """Name all that a training used.

    These are the corpora that it learnt; those of development, which choose weights, scalings and thresholds;
    those that silver sentences go back to; and the dictionaries of code-switching. RAISES: XNER106.
    """
    chosen = reader.get("sources") or []
    dev = [path for path in sorted(folder.glob("*-dev.spacy")) if not chosen or file_source(path) in chosen]
    files = find_files(folder, "train", reader.get("languages") or [], chosen)
    paths = [*dev, *(path for group in files.values() for path in group)]
    names = {file_source(path) for path in paths}
    for path in paths:
        names |= taught_by(read_docs(path))
    augmenter = reader.get("augmenter")
    dictionaries = augmenter.get("dictionaries") if isinstance(augmenter, dict) else None
    return names | {DICTIONARY.format(name=Path(path).name) for path in (dictionaries or {}).values()}


def learnt_corpora(meta: Mapping[str, Any], config: Config) -> set[str]:
    """Name all corpora that a pipeline goes back to: those that its package lists, or else its training's.

    RETURNS: `UNKNOWN` alone if neither tells.
    """
    if names := meta.get("corpora"):
        return set(map(str, names))
    reader = training_reader(config)
    folder = training_folder(reader)
    try:
        return used_corpora(reader, folder) if folder else {UNKNOWN}
    except XnerError:  # Another corpus is in the place of the training's.
        return {UNKNOWN}
