"""One model for all languages against one a language, and the number of frozen layers.

SOURCE: Moon et al. 2019, Table 1 and the curves of Figures 2 and 3 with labels.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import spacy

from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import read_examples
from spacy_xner.runs import choose

from scripts.overrides import TRANSFORMER, Trained
from scripts.results import score_rows
from scripts.runner import Run, Settings

EVERY_LANGUAGE = "all"


class Joint(Trained):
    """Train on all languages or on one, and test on these and on the targets.

    The best epoch on the dev sets of the training languages counts.
    """

    kind = "joint"
    required = ("languages",)
    # targets: Languages without labels that are scored too.
    # trained_on: "all" languages, or one of them.
    defaults = TRANSFORMER | {
        "languages": [], "targets": [], "sources": [], "trained_on": EVERY_LANGUAGE, "epochs": 2,
        "limit": 4000, "dev_limit": 500, "test_limit": 2000,
    }  # fmt: skip

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Refuse other languages than those of the experiment. RAISES: XNER808."""
        known = [EVERY_LANGUAGE, *settings["languages"]]
        if settings["trained_on"] not in known:
            choice, names = settings["trained_on"], ", ".join(known)
            raise XnerError(Errors.XNER808.format(setting="trained_on", known=names, found=choice))
        yield settings

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one run, and score it on the tests of all languages."""
        languages = run["languages"] if run["trained_on"] == EVERY_LANGUAGE else [run["trained_on"]]
        watched, sources = [*run["languages"], *run["targets"]], run["sources"]
        changes = {"training.logger.watch": {"dev": self.reader(run, "dev", watched, sources)}}
        fitted, outcome = self.fit_labels(run, languages, changes, work, n_scored=run["epochs"])
        nlp = spacy.load(fitted.folder / "model-best")
        tests = read_examples(nlp, self.paths["corpus"], "test", watched, run["test_limit"], sources)
        best = fitted.curve[choose([line["score"] for line in fitted.curve])]["watch"]["dev"]
        return {
            "languages": languages,
            **outcome,
            "scores": [*score_rows(nlp.evaluate(tests)), *score_rows(best, split="dev")],
            "curve": [_describe(line, watched) for line in fitted.curve],
        }


def _describe(line: dict[str, Any], languages: list[str]) -> dict[str, Any]:
    """The part of an evaluation that tables and figures read."""
    scores = line["watch"]["dev"]["ents_per_language"]
    dev = {lang: {"dev": scores[lang]["f"]} for lang in languages}
    return {"step": line["step"], "source_dev": line["score"], "languages": dev}
