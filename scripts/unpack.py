"""Unpack WikiAnn's archive, a zip of one tar.gz a language, to {language}/{split}.tsv."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.corpus.assets import check_asset, read_tar_members, read_zip_member
from spacy_xner.files import write_bytes

SPLITS = ("train", "dev", "test")
# The largest split of PAN-X has 5 MB, packed or not; an archive that claims more is no corpus.
LARGEST = 50_000_000


def main(
    archive: Annotated[Path, typer.Argument(help="panx_dataset.zip")],
    out: Annotated[Path, typer.Argument(help="Folder for {language}/{split}.tsv.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")],
    ledger: Annotated[
        Path | None, typer.Option(help="JSON file of checksums, to which a first download is added.")
    ] = None,
) -> None:
    """Unpack some languages; nothing in the archive decides where files are written."""
    if ledger is not None and check_asset(archive, ledger):
        msg.info(f"Recorded the checksum of {archive} in {ledger}")
    for language in languages.split(","):
        content = read_zip_member(archive, f"{language}.tar.gz", LARGEST)
        where = archive / f"{language}.tar.gz"
        splits = read_tar_members(content, SPLITS, where, limit=len(SPLITS) * LARGEST)
        for split in SPLITS:
            write_bytes(out / language / f"{split}.tsv", splits[split])
        msg.good(f"{language}: {', '.join(SPLITS)}")


if __name__ == "__main__":
    typer.run(main)
