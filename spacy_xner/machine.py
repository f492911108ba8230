"""The machine that figures were measured on: processor, instruction sets, cores, threads, torch."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import torch

UNKNOWN = "unknown"
NO_GPU = "none"
CPUINFO = Path("/proc/cpuinfo")
# Sets that decide how fast matrices are multiplied, as Linux names them on x86 and on Arm.
INSTRUCTION_SETS = (
    "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "asimd", "asimdhp", "sve", "sve2", "i8mm", "bf16", "sme",
)  # fmt: skip


class Processor(NamedTuple):
    """The processor's model, and those of `INSTRUCTION_SETS` that it has."""

    cpu: str
    instruction_sets: list[str]


class Machine(NamedTuple):
    """A machine in words and numbers; what cannot be found out is "unknown", 0 or no set at all.

    cpu: The processor's model.
    instruction_sets: The members of `INSTRUCTION_SETS` that the processor has.
    capability: The set that torch's own kernels use.
    n_cores: Cores that this process may use.
    n_threads: Threads of one operation of torch.
    gpu: The model of the first GPU that torch can use, "none" without one.
    torch, python: Versions.
    """

    cpu: str
    instruction_sets: list[str]
    capability: str
    n_cores: int
    n_threads: int
    gpu: str
    system: str
    torch: str
    python: str

    def __str__(self) -> str:
        """One line for people."""
        sets = ", ".join(self.instruction_sets) or "unknown instruction sets"
        gpu = f"GPU {self.gpu}" if self.gpu != NO_GPU else "no GPU"
        threads = f"{self.n_threads} threads of torch {self.torch}"
        return f"{self.cpu} ({sets}), {self.n_cores} cores, {threads}, Python {self.python}, {gpu}"


def describe_machine() -> Machine:
    """Describe the machine that this process runs on, for results to record; fails on no system."""
    return Machine(
        **describe_processor()._asdict(),
        capability=torch.backends.cpu.get_cpu_capability() or UNKNOWN,
        n_cores=count_cores(),
        n_threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else NO_GPU,
        system=platform.platform() or UNKNOWN,
        torch=torch.__version__,
        python=platform.python_version(),
    )


def describe_processor() -> Processor:
    """Name the processor; what the system does not say is "unknown", and no set at all."""
    cpuinfo = _read_cpuinfo()
    flags = set(_find(cpuinfo, "flags", "Features").split())
    cpu = _find(cpuinfo, "model name", "Model") or _ask_system() or UNKNOWN
    return Processor(cpu, [name for name in INSTRUCTION_SETS if name in flags])


def count_cores() -> int:
    """Cores that this process may use; 0 if the system does not say."""
    # Only Linux says which cores a process is kept to.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _read_cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _find(cpuinfo: str, *names: str) -> str:
    """The value of the first of these fields that Linux's cpuinfo has; empty for none."""
    for name in names:
        match = re.search(rf"^{re.escape(name)}\s*:[ \t]*(.*)$", cpuinfo, re.MULTILINE)
        if match and match[1].strip():
            return match[1].strip()
    return ""


def _ask_system() -> str:
    """The processor's model where there is no cpuinfo; empty if the system does not say."""
    if platform.system() == "Darwin":
        try:
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            return done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return ""
    return platform.processor()
