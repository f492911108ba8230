"""A training logger that keeps every evaluation, by language, for curves.

spaCy imports this module whenever a `Language` is made: its default config names a logger of spacy-legacy,
and all loggers are loaded before that is looked for. Nothing heavy may therefore stand among the imports.
"""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.scoring import annotate
from spacy_xner.stability import describe_predictions

Step = Callable[[dict[str, Any] | None], None]
Logger = Callable[[Language, IO, IO], tuple[Step, Callable[[], None]]]
Reader = Callable[[Language], Iterable[Example]]


def create_curve_logger(
    path: str, console: Logger, watch: dict[str, Any] | None = None, spans_key: str = "xner"
) -> Logger:
    """Create a logger that appends one JSON line an evaluation.

    path: Where the lines go; a new training starts a new file.
    console: The logger that people see.
    watch: Readers of corpora, by name, to score at every evaluation but the one before training. They take no
        part in the selection of the best model: the target languages of zero-shot transfer, for instance.
    spans_key: Where the tagger leaves the probabilities of entities.
    """

    def setup(nlp: Language, stdout: IO, stderr: IO) -> tuple[Step, Callable[[], None]]:
        log, finish = console(nlp, stdout, stderr)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("", encoding="utf-8")
        watched = {name: Watched(nlp, reader, spans_key) for name, reader in (watch or {}).items()}
        start = time.perf_counter()

        def log_step(info: dict[str, Any] | None) -> None:
            log(info)
            if info is None or info["score"] is None:
                return
            with nlp.use_params(_averages(nlp)):
                scores = {name: corpus.evaluate(nlp) for name, corpus in watched.items() if info["step"]}
            line = {
                "epoch": info["epoch"],
                "step": info["step"],
                "seconds": time.perf_counter() - start,
                "losses": info["losses"],
                "parameters": count_parameters(nlp),
                "score": info["score"],
                "scores": info["other_scores"],
                "watch": scores,
            }
            with Path(path).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line, default=float) + "\n")

        return log_step, finish

    return setup


def _averages(nlp: Language) -> dict[Any, Any]:
    """The weights that spaCy scores and keeps, where the optimizer has averages; loggers do not get it."""
    pipes = (pipe for _, pipe in nlp.pipeline)
    return next((averages for pipe in pipes if (averages := getattr(pipe, "averages", None))), {})


def count_parameters(nlp: Language) -> int:
    """Count the numbers that are trained in the torch networks of a pipeline."""
    from spacy_xner.shim import trained_parameters

    models = [pipe.model for _, pipe in nlp.pipeline if isinstance(pipe, TrainablePipe)]
    parameters = {key: parameter for model in models for key, parameter in trained_parameters(model).items()}
    return sum(parameter.numel() for parameter in parameters.values())


class Watched:
    """A corpus that is scored again and again, and the predictions of the last time."""

    def __init__(self, nlp: Language, read: Reader, spans_key: str) -> None:
        self.examples = list(read(nlp))
        self.spans_key = spans_key
        self._last: list[Doc] | None = None

    def evaluate(self, nlp: Language) -> dict[str, Any]:
        """Score the pipeline. RETURNS: Its scores, and in `unlabelled` what needs no gold annotation."""
        examples = [Example(example.predicted.copy(), example.reference) for example in self.examples]
        scores = annotate(nlp, examples)
        docs = [example.predicted for example in examples]
        languages = [example.reference._.language for example in examples]
        scores["unlabelled"] = describe_predictions(docs, self._last, languages, self.spans_key)
        self._last = docs
        return scores
