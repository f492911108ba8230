"""Corpora without the training sentences that are in test sets.

A sentence is known again by a hash of its characters without spaces: corpora differ in how they cut text into
tokens and whether they know where its spaces are.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import fresh_folder

# A sentence stays in the first of these splits that has it.
ORDER = ("test", "dev", "train")


class Separated(NamedTuple):
    """A file that was written.

    n_sentences: Sentences that stayed.
    n_dropped: Sentences that are in an earlier split of some corpus.
    """

    path: Path
    n_sentences: int
    n_dropped: int


def separate_splits(folders: Sequence[Path], out: Path) -> Iterator[Separated]:
    """Write the corpus files of some folders to one, so that no sentence is in two splits.

    A sentence of a test file of any language and corpus is dropped from all dev and train files, one of a dev
    file from all train files. Memory holds one file, and 16 bytes a sentence of test and dev files. The
    corpus files that are in the folder already are replaced when all is written.

    YIELDS: Each file, first the test files.
    RAISES: XNER106 for folders without files, XNER149 for a file that would be empty, XNER168 for two files
        of one name, XNER169 for a file without a split in its name, XNER103, XNER105, XNER703.
    """
    files = _find_files(folders)
    earlier: set[bytes] = set()
    # A file of an earlier corpus would be trained on with the others.
    names = {path.name for split in ORDER for path in files[split]} | {
        path.name for path in out.glob("*.spacy")
    }
    with fresh_folder(out, sorted(names)) as folder:
        for split in ORDER:
            # Files of one split may have sentences in common: a corpus may be a part of another.
            fresh: set[bytes] = set()
            for path in files[split]:
                written = _write(path, folder / path.name, earlier, fresh if split != ORDER[-1] else None)
                yield written._replace(path=out / path.name)
            earlier |= fresh


def fingerprint(doc: Doc) -> bytes:
    """Hash the characters of a sentence without its spaces. RETURNS: 16 bytes."""
    text = "".join(doc.text.split())
    return blake2b(text.encode("utf-8"), digest_size=16).digest()


def _find_files(folders: Sequence[Path]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {split: [] for split in ORDER}
    places: dict[str, Path] = {}
    for folder in folders:
        paths = sorted(folder.glob("*.spacy"))
        if not paths:
            raise XnerError(Errors.XNER106.format(pattern=folder / "*.spacy", missing="any", found="none"))
        for path in paths:
            split = path.stem.rpartition("-")[2]
            if split not in files:
                raise XnerError(Errors.XNER169.format(path=path, splits=", ".join(ORDER)))
            if path.name in places:
                message = Errors.XNER168.format(name=path.name, one=places[path.name], other=folder)
                raise XnerError(message)
            places[path.name] = folder
            files[split].append(path)
    return files


def _write(path: Path, target: Path, earlier: set[bytes], fresh: set[bytes] | None) -> Separated:
    """Copy what is in no earlier split. fresh: Collects the hashes of what stays."""
    docs = read_docs(path)
    n_dropped = 0

    def remaining() -> Iterator[Doc]:
        nonlocal n_dropped
        # A vocabulary a file: it grows with the words that it has seen.
        for doc in docs.get_docs(Vocab()):
            key = fingerprint(doc)
            if key in earlier:
                n_dropped += 1
                continue
            if fresh is not None:
                fresh.add(key)
            yield doc

    n_sentences = write_docs(remaining(), target)["sentences"]
    if not n_sentences:
        raise XnerError(Errors.XNER149.format(path=path))
    return Separated(target, n_sentences, n_dropped)
