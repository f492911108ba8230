"""Naming the machine: Linux on x86 and Arm, systems without cpuinfo, systems that say nothing."""

import ast
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spacy_xner import machine
from spacy_xner.machine import describe_machine

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C
flags\t\t: fpu sse2 avx avx2 fma avx512f avx512_bf16 amx_bf16 amx_tile amx_int8 avx512vbmi

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd asimdhp sve i8mm bf16
CPU part\t: 0xd40
"""


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """Let the machine have this cpuinfo."""

    def write(content):
        path = tmp_path / "cpuinfo"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        monkeypatch.setattr(machine, "CPUINFO", path)

    return write


def test_linux_names_model_and_instruction_sets(cpuinfo):
    cpuinfo(X86)
    found = describe_machine()
    assert found.cpu == "Intel(R) Xeon(R) Platinum 8481C"
    assert found.instruction_sets == [
        "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16",
    ]  # fmt: skip


def test_arm_has_features_and_no_model(cpuinfo, monkeypatch):
    cpuinfo(ARM)
    monkeypatch.setattr(platform, "processor", lambda: "aarch64")
    found = describe_machine()
    assert found.cpu == "aarch64"
    assert found.instruction_sets == ["asimd", "asimdhp", "sve", "i8mm", "bf16"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00flags", b"model name\t:\nflags\t:"])
def test_an_odd_cpuinfo_gives_unknown(cpuinfo, monkeypatch, content):
    cpuinfo(content)
    monkeypatch.setattr(platform, "processor", lambda: "")
    found = describe_machine()
    assert (found.cpu, found.instruction_sets) == ("unknown", [])


def test_an_unreadable_cpuinfo_gives_unknown(monkeypatch, tmp_path):
    # A folder cannot be read as a file, whoever asks.
    monkeypatch.setattr(machine, "CPUINFO", tmp_path)
    monkeypatch.setattr(platform, "processor", lambda: "")
    found = describe_machine()
    assert (found.cpu, found.instruction_sets) == ("unknown", [])


def test_windows_has_neither_cpuinfo_nor_affinity(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "missing")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(platform, "processor", lambda: "AMD64 Family 25")
    found = describe_machine()
    assert (found.cpu, found.n_cores) == ("AMD64 Family 25", 0)


@pytest.mark.parametrize(
    ("answer", "expected"), [("Apple M2 Pro\n", "Apple M2 Pro"), (FileNotFoundError("sysctl"), "unknown")]
)
def test_macos_is_asked_for_its_processor(monkeypatch, tmp_path, answer, expected):
    def run(command, **options):
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 0, stdout=answer)

    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "missing")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", run)
    assert describe_machine().cpu == expected


def test_results_can_record_it():
    found = describe_machine()
    assert json.loads(json.dumps(found._asdict())) == found._asdict()
    assert found.torch == torch.__version__
    assert found.n_threads == torch.get_num_threads()
    assert found.capability


def test_a_line_names_it_for_people(cpuinfo):
    cpuinfo(X86)
    found = describe_machine()
    line = str(found._replace(n_cores=2, n_threads=1, torch="2.13.0", python="3.11.7", gpu="none"))
    sets = ", ".join(found.instruction_sets)
    name = "Intel(R) Xeon(R) Platinum 8481C"
    assert line == f"{name} ({sets}), 2 cores, 1 threads of torch 2.13.0, Python 3.11.7, no GPU"
    assert str(found._replace(instruction_sets=[], gpu="H100")).endswith("GPU H100")
    assert "unknown instruction sets" in str(found._replace(instruction_sets=[]))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(Path("benchmarks").glob("*.py")) if path.stem not in ("record", "memory")],
    ids=lambda path: path.stem,
)
def test_every_benchmark_names_its_machine(path):
    """It is printed by `main`, and written where the figures are."""
    source = path.read_text(encoding="utf-8")
    [main] = [node for node in ast.parse(source).body if getattr(node, "name", "") == "main"]
    calls = {getattr(node.func, "id", "") for node in ast.walk(main) if isinstance(node, ast.Call)}
    # `Record` looks the machine up, and writes it beside the tables.
    assert calls & {"describe_machine", "Record"}
    if '"JSON file' in source:
        assert "Record(" in source or '"machine": machine._asdict()' in source


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process has")
def test_memory_is_that_of_the_process_asked_for(monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    from memory import memory

    now = memory("VmRSS", os.getpid())
    assert 0 < now <= memory()
    child = "import sys; sys.path.insert(0, 'benchmarks'); from memory import memory; print(memory())"
    done = subprocess.run([sys.executable, "-c", child], check=True, capture_output=True, text=True)
    # A bare interpreter has not this process' peak, nor torch.
    assert float(done.stdout) < 40
