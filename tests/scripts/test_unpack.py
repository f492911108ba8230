"""Archives with hostile members, and files that are not those of the first download."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from spacy_xner.corpus.assets import check_asset, read_tar_members, read_zip_member
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
    with pytest.raises(XnerError, match="XNER704"):
        unpack(archive, tmp_path / "out", [languages])
    assert not (tmp_path / "out").exists()


def pack_zip(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def test_a_member_that_is_a_bomb_is_not_unpacked(tmp_path):
    path = pack_zip(tmp_path / "a.zip", "panx/en.tar.gz", bytes(10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(XnerError, match="XNER705"):
        read_zip_member(path, "en.tar.gz", 1_000_000)
    assert len(read_zip_member(path, "en.tar.gz", 10_000_000)) == 10_000_000


def test_a_member_that_lies_about_its_size_is_not_unpacked(tmp_path):
    path = pack_zip(tmp_path / "a.zip", "en.tar.gz", bytes(10_000_000))
    size = (10_000_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(XnerError, match=r"XNER70[57]"):
        read_zip_member(path, "en.tar.gz", 1000)


def test_bombs_between_the_members_of_a_tar_are_not_unpacked():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as inner:
        for name, size in (("other", 10_000_000), ("train", 10)):
            info = tarfile.TarInfo(name)
            info.size = size
            inner.addfile(info, io.BytesIO(bytes(size)))
    with pytest.raises(XnerError, match="XNER705"):
        read_tar_members(buffer.getvalue(), ["train"], Path("a.tar.gz"), 1_000_000)
    members = read_tar_members(buffer.getvalue(), ["train"], Path("a.tar.gz"), 11_000_000)
    assert members == {"train": bytes(10)}


def test_links_in_a_tar_are_no_members():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as inner:
        info = tarfile.TarInfo("train")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        inner.addfile(info)
    with pytest.raises(XnerError, match="XNER704"):
        read_tar_members(buffer.getvalue(), ["train"], Path("a.tar.gz"), 1000_000)


def test_damaged_archives_are_coded_errors(tmp_path):
    path = make_archive(tmp_path / "a.zip", ["train", "dev", "test"])
    unpack(path, tmp_path / "out", ["en"])
    content = path.read_bytes()
    n_errors = 0
    for i in range(0, len(content), 3):
        path.write_bytes(content[:i] + bytes([content[i] ^ 0xFF]) + content[i + 1 :])
        # Bytes such as dates may be anything; whatever is not read is a coded error.
        try:
            unpack(path, tmp_path / "out", ["en"])
        except XnerError:
            n_errors += 1
        assert (tmp_path / "out" / "en" / "train.tsv").read_bytes() == CONTENT
    assert n_errors > 50
    path.write_bytes(content[:-50])
    with pytest.raises(XnerError, match="XNER707"):
        unpack(path, tmp_path / "out", ["en"])


def test_another_download_than_the_first_is_a_coded_error(tmp_path):
    archive, ledger = tmp_path / "data" / "a.zip", tmp_path / "checksums.json"
    archive.parent.mkdir()
    archive.write_bytes(b"first")
    assert check_asset(archive, ledger)
    assert not check_asset(archive, ledger)
    (tmp_path / "b.zip").write_bytes(b"another file")
    assert check_asset(tmp_path / "b.zip", ledger)
    assert set(json.loads(ledger.read_text())) == {"data/a.zip", "b.zip"}
    archive.write_bytes(b"second")
    with pytest.raises(XnerError, match="XNER706"):
        check_asset(archive, ledger)
