"""The verbs of `spacy xner` by themselves: help, configs, coded errors."""

import subprocess
import sys

import pytest
from thinc.api import Config

from spacy_xner.cli.app import xner
from spacy_xner.errors import XnerError
from spacy_xner.training import config_names, config_path

from tests.cli import invoke


def test_config_lists_and_prints_the_installed_configs() -> None:
    assert invoke(xner, "config").split() == config_names()
    for name in config_names():
        text = config_path(name).read_text(encoding="utf-8")
        assert Config().from_str(text, interpolate=False)["nlp"]
        assert invoke(xner, "config", name) == " ".join(text.split())


def test_a_coded_error_ends_a_verb_with_its_text_alone() -> None:
    output = invoke(xner, "config", "nothing", code=1)
    assert "XNER115" in output
    assert "Traceback" not in output
    with pytest.raises(XnerError, match="XNER115"):
        config_path("nothing")


def test_help_imports_no_torch_of_its_own() -> None:
    """spaCy's thinc imports torch; the package's verbs add neither transformers nor scikit-learn."""
    code = (
        "import sys, spacy_xner.cli; heavy = {'transformers', 'sklearn', 'matplotlib', 'tokenizers'}; "
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
