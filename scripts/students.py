"""Students that learn from projected entities, in six ways and many settings.

SOURCE: Li et al. 2021, Tables 1 to 3, Figures 3 and 4, section 5.1.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language

from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import read_examples
from spacy_xner.files import fingerprint
from spacy_xner.scoring import annotate
from spacy_xner.training import steps_per_epoch

from scripts.overrides import TRANSFORMER, Trained, schedule
from scripts.results import score_rows
from scripts.runner import Run, Settings
from scripts.variants import RECIPES, ZERO_SHOT


class Students(Trained):
    """Train students, and score them on all dev and test files of their language. The last weights count."""

    kind = "students"
    needs = ("corpus", "silver", "teachers")
    required = ("language",)
    # language: Target language.
    # domains: Names of silver corpora; "news+talk" mixes two.
    # amount: Number of silver sentences; 0 takes all.
    # gamma: Exponent of the re-weighted loss.
    # fresh_epochs, fresh_rate: Length and learning rate of students that start from the pretrained encoder.
    # gold_languages, gold_sources, gold_limit: The labelled sentences that are mixed in.
    defaults = TRANSFORMER | {
        "language": "", "recipe": "sequential RW", "domains": "silver", "amount": 0, "frozen": 3,
        "gamma": 4.0, "gold_languages": ["en"], "gold_sources": [], "gold_limit": 0, "test_limit": 500,
        "epochs": 1, "fresh_epochs": 3, "learn_rate": 5e-5, "fresh_rate": 2e-4, "limit": 0, "dev_limit": 100,
    }  # fmt: skip

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Give settings that a recipe does not have their neutral values. RAISES: XNER808."""
        recipe = settings["recipe"]
        if recipe == ZERO_SHOT:
            yield {**settings, "domains": "", "amount": 0, "frozen": 0, "gamma": 0.0}
        elif recipe in RECIPES:
            yield {**settings, "gamma": settings["gamma"] if RECIPES[recipe].reweighted else 0.0}
        else:
            known = ", ".join([ZERO_SHOT, *RECIPES])
            raise XnerError(Errors.XNER808.format(setting="recipe", known=known, found=recipe))

    def _teacher(self, run: Run) -> Path:
        return self.paths["teachers"] / str(run["seed"])

    def _silver(self, run: Run) -> list[Path]:
        """The silver corpora of a run. RAISES: XNER814."""
        domains = [domain for domain in run["domains"].split("+") if domain]
        names = [self.paths["silver"] / f"{run['language']}-{domain}-train.spacy" for domain in domains]
        if missing := [str(path) for path in names if not path.exists()]:
            raise XnerError(Errors.XNER814.format(missing=", ".join(missing), verb="silver"))
        return names

    def inputs(self, run: Run) -> dict[str, Any]:
        """Silver corpora and teacher: another projection, or another teacher, makes other students."""
        weights = sorted(self._teacher(run).glob("*/model"))
        starts_there = run["recipe"] == ZERO_SHOT or RECIPES[run["recipe"]].goes_on
        if starts_there and not weights:
            raise XnerError(Errors.XNER814.format(missing=self._teacher(run), verb="teachers"))
        return {
            "silver": {path.stem: fingerprint(path) for path in self._silver(run)},
            "teacher": [fingerprint(path) for path in weights] if starts_there else [],
        }

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Make one student, or take its teacher, and score it."""
        outcome: dict[str, Any] = {"sentences": 0, "steps": 0, "seconds": 0.0}
        if run["recipe"] == ZERO_SHOT:
            nlp = spacy.load(self._teacher(run))
        else:
            n_sentences = self._gather(run, work / "corpus")
            fitted = self.fit(run, self._overrides(run, work / "corpus", n_sentences), work)
            nlp = spacy.load(fitted.folder / "model-last")
            outcome = {"sentences": n_sentences, "steps": fitted.steps, "seconds": fitted.seconds}
        scores = [row for split in ("dev", "test") for row in self._score(nlp, run, split)]
        return {**outcome, "scores": scores}

    def _overrides(self, run: Run, corpus: Path, n_sentences: int) -> Settings:
        recipe = RECIPES[run["recipe"]]
        rate, epochs = ("learn_rate", "epochs") if recipe.goes_on else ("fresh_rate", "fresh_epochs")
        timed = Run(run.axes, {**run.settings, "epochs": run[epochs]})
        reweighted = {
            "@misc": "spacy_xner.reweighted.v1",
            "gamma": run["gamma"],
            "detached": not recipe.slope,
        }
        return {
            **self.transformer(run, run["gold_languages"], run["gold_sources"]),
            **schedule(timed, steps_per_epoch(n_sentences, run["batch_size"]), n_scored=1),
            "vars.learn_rate": run[rate],
            "paths.train": str(corpus),
            "corpora.train.languages": [],
            "corpora.train.sources": [],
            "paths.weights": str(self._teacher(run)) if recipe.goes_on else None,
            "components.ner.model.head.loss": (
                reweighted
                if recipe.reweighted
                else {"@misc": "spacy_xner.cross_entropy.v1", "label_smoothing": 0.0}
            ),
        }

    def _gather(self, run: Run, out: Path) -> int:
        """Put the training files of a student into one folder. RETURNS: Sentences.

        Domains share the amount alike, in sentences drawn with the run's seed: parallel text is often sorted.
        """
        vocab, n_sentences, silver = spacy.blank("xx").vocab, 0, self._silver(run)
        limits = dict.fromkeys(silver, -(-run["amount"] // len(silver)))
        if RECIPES[run["recipe"]].with_gold:
            gold = find_files(self.paths["corpus"], "train", run["gold_languages"], run["gold_sources"])
            limits |= dict.fromkeys((path for paths in gold.values() for path in paths), run["gold_limit"])
        for path, limit in limits.items():
            docs = list(read_docs(path).get_docs(vocab))
            if path in silver:
                random.Random(run["seed"]).shuffle(docs)
            docs = docs[: limit or None]
            write_docs(docs, out / path.name)
            n_sentences += len(docs)
        return n_sentences

    def _score(self, nlp: Language, run: Run, split: str) -> list[dict[str, Any]]:
        """Score the language's dev or test files one by one, by source. RETURNS: Rows of the result."""
        rows = []
        for path in sorted(self.paths["corpus"].glob(f"{run['language']}-*-{split}.spacy")):
            source = path.stem.removeprefix(f"{run['language']}-").removesuffix(f"-{split}")
            examples = read_examples(nlp, path, split, [], run["test_limit"])
            rows += score_rows(annotate(nlp, examples), source, split)
        return rows
