"""The notebook of the documentation: it runs, and prints what is stored in it."""

import copy
import json
import re
import shutil
from pathlib import Path

import pytest

from scripts.notebook import NOTEBOOK, comparable, compare, printed, run_notebook
from scripts.site import notebook_page

SAMPLE = Path(__file__).parent.parent / "assets" / "sample"


@pytest.fixture(scope="module")
def stored():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.offline_encoder
def test_the_notebook_runs_and_prints_what_is_stored(stored, tmp_path):
    (tmp_path / "assets").mkdir()
    shutil.copytree(SAMPLE, tmp_path / "assets" / "sample")
    fresh = run_notebook(NOTEBOOK, tmp_path)
    assert compare(stored, fresh) == []
    work = tmp_path / "training" / "notebook"
    [wheel] = (work / "packages").glob("xx_xner_notebook-*.whl")
    assert wheel.stat().st_size < 100e6
    scores = json.loads((work / "metrics" / "test.json").read_text(encoding="utf-8"))["scores"]
    assert set(scores["ents_per_language"]) == {"de", "en", "sw"}


def test_the_notebook_has_about_fifteen_cells_and_shows_what_they_print(stored):
    assert 13 <= len(stored["cells"]) <= 17
    shown = [cell for cell in stored["cells"] if cell["cell_type"] == "code" and printed(cell)]
    assert len(shown) >= 6
    kinds = {output["output_type"] for cell in shown for output in cell["outputs"]}
    assert kinds == {"stream"}


def test_entities_that_the_notebook_shows_are_in_test_sentences_of_the_sample(stored):
    cell = stored["cells"][-1]
    sentences = [line.split('"')[1] for line in "".join(cell["source"]).splitlines() if line[:5] == '    "']
    assert len(sentences) == len(printed(cell).splitlines()) == 3
    sample = "".join(path.read_text(encoding="utf-8") for path in SAMPLE.glob("*.tsv"))
    tested = [line for line in without_marks(sample).splitlines() if line.startswith("test-")]
    assert all(any(line.endswith(sentence) for line in tested) for sentence in sentences)


def without_marks(sample: str) -> str:
    return re.sub(r"\[([^]]*)\]\(\w+:\d+\)", r"\1", sample)


def test_another_output_is_noticed(stored):
    assert compare(stored, stored) == []
    for n, cell in enumerate(stored["cells"]):
        if cell["cell_type"] == "code" and printed(cell):
            other = copy.deepcopy(stored)
            other["cells"][n]["outputs"][0]["text"] = "Another line\nand one more\n"
            [line] = compare(stored, other)
            assert line.startswith(f"{cell['id']}: stored ")


def test_numbers_of_a_training_may_differ_and_words_may_not():
    tags = ["learnt-numbers"]
    shown = "language   F\n--------   ----\nen         97.5"
    assert comparable(shown, tags) == comparable("language   F\n--------   -----\nen         100.0", tags)
    assert comparable(shown, tags) != comparable(shown.replace("en", "de"), tags)
    assert comparable(shown, []) != comparable(shown.replace("97.5", "97.6"), [])


def test_a_notebook_becomes_a_page():
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {
            "cell_type": "code",
            "source": ["print(1)"],
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}],
        },
        {"cell_type": "code", "source": ["x = 1"], "outputs": []},
    ]
    page = "# Title\nText.\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nx = 1\n```\n"
    assert notebook_page({"cells": cells}) == page
