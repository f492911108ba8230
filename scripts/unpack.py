"""Unpack WikiAnn's archive, a zip of one tar.gz a language, to {language}/{split}.tsv."""

import io
import tarfile
import zipfile
from pathlib import Path

from wasabi import msg

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import write_bytes

SPLITS = ("train", "dev", "test")
# The largest split of PAN-X has 5 MB; a member that claims more is no corpus.
LARGEST = 50_000_000


def unpack(archive: Path, out: Path, languages: list[str]) -> None:
    """Unpack some languages; nothing in the archive decides where files are written. RAISES: XNER813."""
    with zipfile.ZipFile(archive) as outer:
        names = {Path(name).name: name for name in outer.namelist()}
        for language in languages:
            member = names.get(f"{language}.tar.gz")
            if member is None:
                raise XnerError(Errors.XNER813.format(path=archive, missing=f"{language}.tar.gz"))
            splits = read_splits(outer.read(member), f"{archive}, {language}.tar.gz")
            for split, content in splits.items():
                write_bytes(out / language / f"{split}.tsv", content)
            msg.good(f"{language}: {', '.join(splits)}")


def read_splits(content: bytes, name: str) -> dict[str, bytes]:
    """Read the splits out of one language's tar.gz; other members are left alone. RAISES: XNER813."""
    splits = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as inner:
        for member in inner:
            split = Path(member.name).name
            if split in SPLITS and member.isfile() and member.size <= LARGEST:
                stream = inner.extractfile(member)
                splits[split] = stream.read() if stream is not None else b""
    if missing := sorted(set(SPLITS) - set(splits)):
        raise XnerError(Errors.XNER813.format(path=name, missing=", ".join(missing)))
    return splits
