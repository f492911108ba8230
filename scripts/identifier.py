"""Language identifiers, whose vectors find the clusters of languages. SOURCE: Shaffer 2021, section 3."""

from collections import Counter
from pathlib import Path
from typing import Any

import spacy

from spacy_xner.evaluation import read_examples
from spacy_xner.scoring import UNKNOWN_LANGUAGE, annotate

from scripts.overrides import TRANSFORMER, Trained
from scripts.runner import Run


class Identifier(Trained):
    """Train an identifier, and keep its best evaluation in `paths.identifiers`, by experiment."""

    kind = "identifier"
    config = "identifier"
    needs = ("corpus", "identifiers")
    # layers: Layers of the encoder that are used; 0 for all.
    defaults = TRANSFORMER | {
        "languages": [], "sources": [], "layers": 0, "limit": 1000, "dev_limit": 200, "test_limit": 1000,
        "learn_rate": 1e-4, "batch_size": 20,
    }  # fmt: skip

    def place(self, run: Run) -> Path:
        """One folder for the experiment: it has one run, whose vectors are clustered."""
        return self.paths["identifiers"] / self.name

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train the identifier, and count which languages it finds in test sentences."""
        languages, sources = run["languages"], run["sources"]
        changes = {"vars.n_layers": run["layers"]}
        fitted, outcome = self.fit_labels(run, languages, changes, work, n_scored=run["epochs"])
        nlp = spacy.load(fitted.folder / "model-best")
        examples = read_examples(nlp, self.paths["corpus"], "test", languages, run["test_limit"], sources)
        accuracy = annotate(nlp, examples)["language_acc"]
        pairs = Counter(
            (example.reference._.language, example.predicted._.language or UNKNOWN_LANGUAGE)
            for example in examples
        )
        (fitted.folder / "model-best").rename(work / "kept")
        return {
            **outcome,
            "accuracy": {"dev": max(line["score"] for line in fitted.curve), "test": accuracy},
            "confusion": [
                {"gold": gold, "found": predicted, "n": n} for (gold, predicted), n in sorted(pairs.items())
            ],
        }
