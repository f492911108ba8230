"""Unpacking of WikiAnn's archive, with hostile members."""

import io
import tarfile
import zipfile

import pytest

from spacy_xner.errors import XnerError

from scripts.unpack import unpack

CONTENT = b"en:Maria\tB-PER\n\n"


def make_archive(path, members, language="en"):
    """Write a zip with one tar.gz of the given members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as inner:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = len(CONTENT)
            inner.addfile(info, io.BytesIO(CONTENT))
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr(f"panx/{language}.tar.gz", buffer.getvalue())
    return path


def test_splits_are_written_where_the_user_said(tmp_path):
    archive = make_archive(tmp_path / "a.zip", ["train", "dev", "../../test", "/etc/extra"])
    out = tmp_path / "inner" / "out"
    unpack(archive, out, ["en"])
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == ["a.zip", *(f"inner/out/en/{s}.tsv" for s in ("dev", "test", "train"))]
    assert (out / "en" / "train.tsv").read_bytes() == CONTENT


@pytest.mark.parametrize(("members", "languages"), [(["train", "dev"], "en"), (["train"], "xh")])
def test_missing_parts_stop_with_nothing_written(tmp_path, members, languages):
    archive = make_archive(tmp_path / "a.zip", members)
    with pytest.raises(XnerError, match="XNER813"):
        unpack(archive, tmp_path / "out", [languages])
    assert not (tmp_path / "out").exists()
