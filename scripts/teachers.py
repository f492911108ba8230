"""Teachers that learn gold labels with the focal loss; students go on from them. SOURCE: Li et al. 2021."""

from pathlib import Path
from typing import Any

from spacy_xner.training import steps_per_epoch

from scripts.overrides import TRANSFORMER, Trained, schedule
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
        languages, sources = run["languages"], run["sources"]
        n_sentences = self.count(run, languages, sources)
        per_pass = steps_per_epoch(n_sentences, run["batch_size"])
        fitted = self.fit(
            run,
            {
                **self.transformer(run, languages, sources),
                **schedule(run, per_pass, n_scored=run["epochs"]),
                "components.ner.model.head.loss": {"@misc": "spacy_xner.focal.v1", "gamma": run["gamma"]},
            },
            work,
        )
        (fitted.folder / "model-best").rename(work / "kept")
        curve = [{"step": line["step"], "source_dev": line["score"]} for line in fitted.curve]
        head = {"languages": languages, "sentences": n_sentences}
        return {**head, "steps": fitted.steps, "seconds": fitted.seconds, "curve": curve}
