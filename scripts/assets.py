"""Checksums of a project's fetched assets: those that `project.yml` has, and those of the first download."""

from pathlib import Path

import yaml
from weasel.util import get_checksum

from spacy_xner.corpus.assets import check_asset
from spacy_xner.errors import Errors, XnerError

PROJECT = "project.yml"
# Beside project.yml and not among the assets, so that it stays when these are fetched again.
LEDGER = "checksums.json"


def check_assets(folder: Path) -> dict[str, str]:
    """Compare the assets of a project with their checksums, and record those that have none yet.

    Assets that were not fetched are passed over: most of them are fetched with `--extra` only.

    folder: Folder of a project.yml.
    RETURNS: The state of an asset, by its path in the project.
    RAISES: XNER128 if the file is not the one that project.yml names, XNER129 if there is no project, XNER706
        if the file is not that of the first download.
    """
    states = {}
    for asset in _read_assets(folder / PROJECT):
        name, path = asset["dest"], folder / asset["dest"]
        if not path.is_file():
            states[name] = "not there"
        elif expected := asset.get("checksum"):
            computed = get_checksum(path)
            if computed != expected:
                raise XnerError(Errors.XNER128.format(path=path, computed=computed, expected=expected))
            states[name] = "as in project.yml"
        else:
            is_new = check_asset(path, folder / LEDGER)
            states[name] = "recorded" if is_new else "as at first"
    return states


def _read_assets(path: Path) -> list[dict[str, str]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [{**asset, "dest": str(asset["dest"])} for asset in content.get("assets", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise XnerError(Errors.XNER129.format(path=path, reason=error)) from error
