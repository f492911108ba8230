"""`python scripts VERB`, from any folder: `python ../../scripts VERB` in a folder of papers/."""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:
        # Python put this folder on the path; the modules are imported from the package around them.
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from scripts.command import app

    app(prog_name="python scripts")
