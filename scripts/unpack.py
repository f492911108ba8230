"""Unpack WikiAnn's archive, a zip of one tar.gz a language, to {language}/{split}.tsv."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.files import write_bytes

SPLITS = ("train", "dev", "test")
# The largest split of PAN-X has 5 MB; a member that claims more is no corpus.
LARGEST = 50_000_000


def main(
    archive: Annotated[Path, typer.Argument(help="panx_dataset.zip")],
    out: Annotated[Path, typer.Argument(help="Folder for {language}/{split}.tsv.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")],
) -> None:
    """Unpack some languages; nothing in the archive decides where files are written."""
    with zipfile.ZipFile(archive) as outer:
        names = {Path(name).name: name for name in outer.namelist()}
        for language in languages.split(","):
            member = names.get(f"{language}.tar.gz")
            if member is None:
                msg.fail(f"{archive} has no {language}.tar.gz", exits=1)
            splits = read_splits(outer.read(member))
            for split, content in splits.items():
                write_bytes(out / language / f"{split}.tsv", content)
            msg.good(f"{language}: {', '.join(splits)}")


def read_splits(content: bytes) -> dict[str, bytes]:
    """Read the splits out of one language's tar.gz; other members are left alone."""
    splits = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as inner:
        for member in inner:
            name = Path(member.name).name
            if name in SPLITS and member.isfile() and member.size <= LARGEST:
                stream = inner.extractfile(member)
                splits[name] = stream.read() if stream is not None else b""
    missing = set(SPLITS) - set(splits)
    if missing:
        msg.fail(f"The archive lacks {', '.join(sorted(missing))}", exits=1)
    return splits


if __name__ == "__main__":
    typer.run(main)
