"""Which corpora a pipeline learns from, and what it finds in those that it has never seen.

No paper: the table of `docs/release.md`. A corpus counts as never seen when its sentences are not learnt, and
none that were annotated by a tagger which has learnt them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import spacy

from spacy_xner.corpus.names import file_source
from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import read_examples
from spacy_xner.files import fingerprint

from scripts.overrides import TRANSFORMER, Trained
from scripts.results import score_corpora
from scripts.runner import Run, Settings

# The value of `held_out` that leaves out all corpora but the base.
OTHERS = "*"


class Corpora(Trained):
    """Train on all corpora but one, and test on all test sets.

    The best epoch on the dev sets of the corpora that are learnt counts.
    """

    kind = "corpora"
    required = ("corpora", "tests")
    # corpora: Corpora to learn from, by their names in file names; all of their languages.
    # base: The corpus that is learnt alone where `held_out` is "*".
    # held_out: The corpus to leave out; empty for none.
    # projected: Corpora whose entities come from a tagger that has learnt those of `taught`.
    # tests: Corpora to test on.
    defaults = TRANSFORMER | {
        "corpora": [], "base": "wikiann", "held_out": "", "projected": [], "taught": [], "tests": [],
        "epochs": 2, "limit": 0, "dev_limit": 50, "test_limit": 0,
    }  # fmt: skip

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Refuse corpora that are not among those of the experiment. RAISES: XNER808."""
        known = ["", OTHERS, *settings["corpora"]]
        for name in ("held_out", "base"):
            if settings[name] not in known:
                names = ", ".join(map(repr, known))
                raise XnerError(Errors.XNER808.format(setting=name, known=names, found=settings[name]))
        left_out, files = settings["held_out"], self._files(settings["corpora"])
        # A run without a corpus that is not there would repeat the run with all corpora.
        if left_out in ("", OTHERS) or not files or self._files([left_out]):
            yield settings

    def inputs(self, run: Run) -> dict[str, Any]:
        """The corpora: new sentences by the same names make another run."""
        files = self._files([*sources_of(run.settings), *run["tests"]])
        return {"made_of": {path.stem: fingerprint(path) for path in files}}

    def _files(self, sources: list[str]) -> list[Path]:
        return [path for path in sorted(self.paths["corpus"].glob("*.spacy")) if file_source(path) in sources]

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one run, and score it on the test sets of all corpora."""
        sources = sources_of(run.settings)
        fitted, outcome = self.fit_labels(Run(run.axes, {**run.settings, "sources": sources}), [], {}, work,
                                          n_scored=run["epochs"])  # fmt: skip
        nlp = spacy.load(fitted.folder / "model-best")
        tests = read_examples(nlp, self.paths["corpus"], "test", [], run["test_limit"], run["tests"])
        return {"learnt": sources, **outcome, "scores": score_corpora(nlp.evaluate(tests))}


def sources_of(settings: Settings) -> list[str]:
    """The corpora that a run learns from."""
    held_out = settings["held_out"]
    if held_out == OTHERS:
        return [settings["base"]]
    left_out = {held_out, *(settings["projected"] if held_out in settings["taught"] else ())}
    return [name for name in settings["corpora"] if name not in left_out]
