"""Commands that are killed: the bench notices what is half-written, lost or left; verbs leave none of it."""

import itertools
from pathlib import Path

import pytest

from tests.kills import JOBS, Bench, Job, choose_moment, digest, make_inputs

# Writes the lines of `text` beside its place, slowly, and moves them there.
WHOLE = """
import pathlib, time
pathlib.Path("out").mkdir(exist_ok=True)
part = pathlib.Path("out/result.part")
part.unlink(missing_ok=True)
with part.open("a", buffering=1) as file:
    for line in open("text"):
        file.write(line)
        time.sleep(0.02)
part.replace("out/result")
"""
REMOVE = "part.unlink(missing_ok=True)\n"
FAULTS = {
    "out/result is half-written": WHOLE.replace("result.part", "result"),
    "out/result is lost": WHOLE.replace(REMOVE, f"{REMOVE}pathlib.Path('out/result').unlink(True)\n"),
    "another result": WHOLE.replace(REMOVE, ""),
    "other files": WHOLE.replace("result.part", "{time.time_ns()}.part").replace('("out/{', '(f"out/{'),
    "does not run again": WHOLE.replace(REMOVE, "assert not part.exists()\n"),
}


def make_bench(folder: Path, code: str) -> Bench:
    """A bench that kills a little command."""
    inputs = folder / "inputs"
    (inputs / "tmp").mkdir(parents=True)
    (inputs / "model").mkdir()
    (inputs / "text").write_text("".join(f"line {i}\n" for i in range(8)))
    (inputs / "write.py").write_text(code)
    return Bench("write", Job(["write.py"], ["out/result"]), inputs, folder / "bench")


def test_a_command_that_writes_beside_its_place_passes(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, WHOLE)
    kills = [bench.kill(number) for number in range(4)]
    assert [kill.problems for kill in kills] == [[]] * 4
    assert any(kill.is_in_write for kill in kills)
    assert all(sum(kill.states.values()) == 1 for kill in kills)


@pytest.mark.parametrize("problem", FAULTS)
def test_faults_are_noticed(tmp_path: Path, problem: str) -> None:
    bench = make_bench(tmp_path, FAULTS[problem])
    problems = [text for number in range(4) for text in bench.kill(number).problems]
    assert any(text.startswith(problem) for text in problems), problems


def test_an_earlier_run_that_gives_the_same_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="show nothing"):
        make_bench(
            tmp_path, WHOLE.replace("file.write(line)", "file.write('-')").replace('"text"', '"write.py"')
        )


def test_the_folder_that_a_result_was_made_in_does_not_count(tmp_path: Path) -> None:
    digests = set()
    for name in ("old", "kill-1"):
        place = tmp_path / name
        place.mkdir()
        (place / "result").write_text(f"made in {place}/out")
        digests.add(digest(place / "result", place))
        (place / "result").write_text(f"made in {tmp_path}/old/out")
        digests.add(digest(place / "result", place))
    assert len(digests) == 1
    (place / "result").write_text("made elsewhere")
    assert digest(place / "result", place) not in digests


def test_kills_are_spread_over_time_and_changes() -> None:
    moments = [choose_moment(number) for number in range(10)]
    shares = sorted(moment.share for moment in moments)
    assert all(0.05 < after - before < 0.2 for before, after in itertools.pairwise(shares))
    assert [moment.by for moment in moments].count("time") == 3


@pytest.mark.journey
@pytest.mark.slow
def test_verbs_that_are_killed_leave_old_or_new_results(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path / "inputs")
    for name in ("convert text", "evaluate", "package"):
        bench = Bench(name, JOBS[name], inputs, tmp_path / name)
        for number in range(2):
            assert bench.kill(number).problems == []
