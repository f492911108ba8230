"""Unpack WikiAnn's archive, a zip of one tar.gz a language, to {language}/{split}.tsv."""

from pathlib import Path

from wasabi import msg

from spacy_xner.corpus.assets import read_tar_members, read_zip_member
from spacy_xner.files import write_bytes

SPLITS = ("train", "dev", "test")
# The largest split of PAN-X has 5 MB, packed or not; an archive that claims more is no corpus.
LARGEST = 50_000_000


def unpack(archive: Path, out: Path, languages: list[str]) -> None:
    """Unpack some languages; nothing in the archive decides where files are written.

    RAISES: XNER704, XNER705, XNER707 for archives that are damaged, too large or lack a language.
    """
    for language in languages:
        content = read_zip_member(archive, f"{language}.tar.gz", LARGEST)
        where = archive / f"{language}.tar.gz"
        splits = read_tar_members(content, SPLITS, where, limit=len(SPLITS) * LARGEST)
        for split in SPLITS:
            write_bytes(out / language / f"{split}.tsv", splits[split])
        msg.good(f"{language}: {', '.join(SPLITS)}")
