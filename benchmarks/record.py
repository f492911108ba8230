"""Result files of benchmarks: tables, and the machine, versions and commit that they were made with."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from spacy_xner.machine import describe_machine  # noqa: E402

from scripts.results import write_result  # noqa: E402
from scripts.tables import Table  # noqa: E402
from scripts.versions import describe_commit, describe_versions  # noqa: E402


class Record:
    """Machine, versions and commit of a benchmark, looked up at its begin: files may change while it runs."""

    def __init__(self, command: str, settings: str) -> None:
        self.machine = describe_machine()
        self.commit = describe_commit()
        self._versions = describe_versions()
        self._command, self.settings = command, settings

    def write(self, path: Path, tables: Sequence[Table], note: str = "", **more: Any) -> None:
        """Write tables as pages show them. more: Figures that pages do not show."""
        content = {
            "origin": "measured with the code of this version",
            "machine": str(self.machine),
            "commands": [self._command],
            "settings": self.settings,
            "note": note,
            "commit": self.commit,
            "versions": self._versions,
            "machine_details": self.machine._asdict(),
            **more,
            "tables": [table._asdict() for table in tables],
        }
        write_result(path, content)
