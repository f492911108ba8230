"""Files and folders that are whole or not there: replacement, locks, full disks, processes that die."""

import errno
import lzma
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spacy_xner import files
from spacy_xner.errors import XnerError
from spacy_xner.files import (
    TRAINING,
    fresh_folder,
    hold,
    move_folder,
    numbered_lines,
    remove_folder,
    whole_file,
    write_bytes,
    write_text,
)

META = '{"pipeline": ["ner"], "disabled": []}'


def make_pipeline(folder: Path, content: str) -> None:
    """Write what a pipeline's folder has, each file with the content."""
    for name in ("ner", "tokenizer", "vocab"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "model").write_text(content)
    (folder / "config.cfg").write_text(content)
    (folder / "meta.json").write_text(META)


def contents(folder: Path) -> dict[str, str]:
    """All files of a folder but locks, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def dead_pid() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_pipeline_is_replaced_when_the_new_one_is_whole(tmp_path):
    place = tmp_path / "pipeline"
    for content in ("old", "new"):
        with fresh_folder(place) as folder:
            make_pipeline(folder, content)
    assert set(contents(place).values()) == {"new", META}
    with pytest.raises(FileNotFoundError), fresh_folder(place) as folder:
        shutil.copy(tmp_path / "nowhere", folder)
    assert set(contents(place).values()) == {"new", META}
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["pipeline"]


def test_files_of_the_user_beside_a_pipeline_stay(tmp_path):
    place = tmp_path / "pipeline"
    make_pipeline(place, "old")
    (place / "old_component").mkdir()
    (place / "old_component" / "mine").write_text("thesis")
    (place / "meta.json").write_text('{"pipeline": ["gone", "ner"]}')
    (place / "gone").mkdir()
    with fresh_folder(place) as folder:
        make_pipeline(folder, "new")
    after = contents(place)
    assert after.pop("old_component/mine") == "thesis"
    assert set(after.values()) == {"new", META}
    assert not (place / "gone").exists()


def test_a_folder_with_a_config_and_gold_data_is_no_pipeline(tmp_path):
    place = tmp_path / "mine"
    write_text(place / "config.cfg", "[nlp]")
    write_text(place / "corpus" / "gold.tsv", "years of work")
    before = contents(place)
    with pytest.raises(XnerError, match="XNER701"), fresh_folder(place):
        pytest.fail("nothing is to be made for a place that is taken")
    assert contents(place) == before
    # The results of a training have names, and go beside the user's files.
    with fresh_folder(place, TRAINING) as folder:
        write_text(folder / "model-best" / "config.cfg", "new")
    assert contents(place) == {**before, "model-best/config.cfg": "new"}


def test_a_training_replaces_trainings_alone(tmp_path):
    place = tmp_path / "training"
    for name in (*TRAINING, "notes.txt"):
        write_text(place / name, "old")
    with fresh_folder(place, TRAINING) as folder:
        write_text(folder / "model-best" / "meta.json", "new")
    assert contents(place) == {"model-best/meta.json": "new", "notes.txt": "old"}


def test_a_name_that_the_user_has_taken_is_not_overwritten(tmp_path):
    place = tmp_path / "pipeline"
    make_pipeline(place, "old")
    write_text(place / "router" / "mine", "thesis")
    before = contents(place)
    with pytest.raises(XnerError, match="XNER701") as error, fresh_folder(place) as folder:
        write_text(folder / "router" / "cfg", "new")
    assert "router" in str(error.value)
    assert contents(place) == before


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_as_output_stays_one(tmp_path, exists):
    target = tmp_path / "other" / "disk"
    target.parent.mkdir()
    if exists:
        make_pipeline(target, "old")
    (tmp_path / "link").symlink_to(target)
    with fresh_folder(tmp_path / "link") as folder:
        make_pipeline(folder, "new")
        # Beside the target, so that nothing is copied from disk to disk.
        assert target.parent in folder.parents
    assert (tmp_path / "link").is_symlink()
    assert set(contents(target).values()) == {"new", META}


def test_a_folder_where_another_disk_begins_is_filled_from_within(tmp_path, monkeypatch):
    place = tmp_path / "volume"
    place.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == place)
    for content in ("old", "new"):
        with fresh_folder(place) as folder:
            assert place in folder.parents
            make_pipeline(folder, content)
    assert set(contents(place).values()) == {"new", META}


def test_a_second_process_is_told_at_once(tmp_path):
    place = tmp_path / "training"
    code = (
        "import sys; from pathlib import Path; from spacy_xner.files import fresh_folder\n"
        "with fresh_folder(Path(sys.argv[1])) as folder: print(folder, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    with pytest.raises(XnerError, match="XNER702"), fresh_folder(place):
        pytest.fail("two at once")
    assert folder.is_dir()
    process.kill()
    process.wait()
    # The lock of a dead process is free, and what it left is removed.
    with fresh_folder(place) as folder:
        make_pipeline(folder, "new")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["training"]


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "x"):
        raise ZeroDivisionError
    with hold(tmp_path / "x"), pytest.raises(XnerError, match="XNER702"), hold(tmp_path / "x"):
        pytest.fail("held twice")


KILLED = """
import os, sys
from pathlib import Path
from spacy_xner.files import fresh_folder
left = int(sys.argv[2])
def mortal(real):
    def change(*arguments, **settings):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return real(*arguments, **settings)
    return change
os.rename = os.replace = rename = mortal(os.rename)
os.unlink, os.rmdir = mortal(os.unlink), mortal(os.rmdir)
Path.replace = lambda self, target: rename(self, target) or Path(target)
with fresh_folder(Path(sys.argv[1])) as folder:
    for name in ("ner", "tokenizer", "vocab"):
        (folder / name).mkdir()
        (folder / name / "model").write_text("new")
    (folder / "config.cfg").write_text("new")
    (folder / "meta.json").write_text('{"pipeline": ["ner"], "disabled": []}')
"""


@pytest.mark.parametrize("with_notes", [False, True])
def test_death_between_the_old_and_the_new_folder_mixes_nothing(tmp_path, with_notes):
    """Die before the first, second, ... renaming or removal: the next process finds the old or the new."""
    outcomes = set()
    for n_changes in range(80):
        place = tmp_path / str(n_changes) / "pipeline"
        make_pipeline(place, "old")
        if with_notes:
            write_text(place / "notes", "mine")
        done = subprocess.run([sys.executable, "-c", KILLED, str(place), str(n_changes)], check=False)
        assert done.returncode in (0, 9)
        # Whoever reads at this moment finds no pipeline, or one of one piece.
        if (place / "meta.json").exists():
            pieces = [place / "config.cfg", *place.glob("*/model")]
            assert len({path.read_text() for path in pieces if path.exists()}) == 1
        with pytest.raises(ZeroDivisionError), fresh_folder(place):
            raise ZeroDivisionError
        after = contents(place)
        assert after.pop("notes", "mine") == "mine"
        assert len(after) == 5
        assert set(after.values()) in ({"old", META}, {"new", META})
        outcomes |= set(after.values())
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert outcomes == {"old", "new", META}


def test_half_written_files_of_dead_processes_are_removed(tmp_path):
    dead, mine, foreign = (tmp_path / f"a.json.{pid}.part" for pid in (dead_pid(), os.getpid(), "draft"))
    living = tmp_path / f"a.json.{os.getppid()}.part"
    other = tmp_path / f"b.json.{dead.name.split('.')[2]}.part"
    for path in (dead, mine, foreign, living, other):
        path.write_text("half")
    write_bytes(tmp_path / "a.json", b"{}")
    assert not dead.exists()
    assert foreign.exists()
    assert living.exists()
    assert other.exists()


def test_a_failed_write_leaves_the_old_file_and_no_half(tmp_path):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"new", None])
    assert contents(tmp_path) == {"a.json": "old"}


@pytest.fixture
def full_disk():
    """A disk on which no file can have more than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_coded_error_and_the_old_file_stays(tmp_path, full_disk):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    with pytest.raises(XnerError, match="XNER703"):
        write_bytes(path, bytes(5000))
    make_pipeline(tmp_path / "pipeline", "old")
    with pytest.raises(XnerError, match="XNER703"), fresh_folder(tmp_path / "pipeline") as folder:
        make_pipeline(folder, "new" * 1000)
    assert path.read_bytes() == b"old"
    after = contents(tmp_path / "pipeline")
    assert set(after.values()) == {"old", META}
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_a_coded_error(tmp_path, monkeypatch, number):
    make_pipeline(tmp_path / "pipeline", "old")
    write_bytes(tmp_path / "a.bin", b"old")

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(XnerError, match="XNER703"):
        write_bytes(tmp_path / "a.bin", b"new")
    with pytest.raises(XnerError, match="XNER703"), fresh_folder(tmp_path / "pipeline"):
        pytest.fail("nothing can be made here")
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_errors_of_the_work_itself_keep_their_names(tmp_path):
    with pytest.raises(PermissionError), fresh_folder(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "a corpus that nobody may read")


def test_a_folder_is_moved_to_where_another_one_is(tmp_path):
    make_pipeline(tmp_path / "new", "new")
    make_pipeline(tmp_path / "place", "old")
    move_folder(tmp_path / "new", tmp_path / "place")
    assert set(contents(tmp_path / "place").values()) == {"new", META}
    assert not (tmp_path / "new").exists()


def test_a_folder_is_renamed_before_it_is_removed(tmp_path, monkeypatch):
    write_text(tmp_path / "parts" / "plan.json", "{}")
    seen = []
    real = shutil.rmtree

    def die(path, **kwargs):
        seen.append((tmp_path / "parts").exists())
        if path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(files.shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "parts")
    assert seen[-1] is False
    monkeypatch.setattr(files.shutil, "rmtree", real)
    write_text(tmp_path / "parts" / "plan.json", "{}")
    remove_folder(tmp_path / "parts")
    remove_folder(tmp_path / "parts")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\rb\r", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\nb\rc\n", ["a", "b\rc"]),
        (b"a", ["a"]),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_line_ends_of_all_systems_are_read(tmp_path, content, lines, suffix):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(lzma.compress(content) if suffix else content)
    assert [line for _, line in numbered_lines(path)] == lines


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le"])
def test_other_encodings_are_named_errors(tmp_path, encoding):
    path = tmp_path / "text"
    path.write_bytes("Ana vive en Lima.\n".encode(encoding))
    with pytest.raises(XnerError, match="XNER104"):
        list(numbered_lines(path))
