"""Memory of processes. Nothing is imported for it, lest a measured process grow by its measuring."""

from pathlib import Path
from typing import Literal

Kind = Literal["VmHWM", "VmRSS"]


def memory(kind: Kind = "VmHWM", process: int | str = "self") -> float:
    """Memory of a process in MB of a million bytes; only Linux says it.

    kind: VmHWM is the most that the process has had, VmRSS what it has now. (The peak of getrusage would be
        inherited from the process that started it.)
    process: Its number; by default the one that asks.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024 / 1e6
