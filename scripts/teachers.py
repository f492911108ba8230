"""Teachers that learn gold labels with the focal loss; students go on from them. SOURCE: Li et al. 2021."""

from pathlib import Path
from typing import Any

from scripts.overrides import TRANSFORMER, Trained
from scripts.runner import Run


class Teachers(Trained):
    """Train teachers and keep the best epoch of each in `paths.teachers`, by seed."""

    kind = "teachers"
    needs = ("corpus", "teachers")
    required = ("languages",)
    # gamma: Exponent of the focal loss. Limits of 0 take all sentences.
    defaults = TRANSFORMER | {
        "languages": [], "sources": [], "limit": 0, "dev_limit": 300, "epochs": 5, "gamma": 2.0,
    }  # fmt: skip

    def place(self, run: Run) -> Path:
        """A folder for each seed."""
        return self.paths["teachers"] / str(run["seed"])

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one teacher."""
        loss = {"@misc": "spacy_xner.focal.v1", "gamma": run["gamma"]}
        changes = {"components.ner.model.head.loss": loss}
        fitted, outcome = self.fit_labels(run, run["languages"], changes, work, n_scored=run["epochs"])
        (fitted.folder / "model-best").rename(work / "kept")
        curve = [{"step": line["step"], "source_dev": line["score"]} for line in fitted.curve]
        return {"languages": run["languages"], **outcome, "curve": curve}
