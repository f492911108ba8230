"""A training logger that keeps every evaluation, by language, for curves."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from spacy.language import Language
from spacy.training import Example

Step = Callable[[dict[str, Any] | None], None]
Logger = Callable[[Language, IO, IO], tuple[Step, Callable[[], None]]]


def create_curve_logger(
    path: str,
    console: Logger,
    watch: Callable[[Language], Iterable[Example]] | None = None,
) -> Logger:
    """Create a logger that appends one JSON line an evaluation.

    path: Where the lines go; a new training starts a new file.
    console: The logger that people see.
    watch: A corpus to score at every evaluation that takes no part in the selection of the best model:
        the target languages of zero-shot transfer, for instance.
    """

    def setup(nlp: Language, stdout: IO, stderr: IO) -> tuple[Step, Callable[[], None]]:
        log, finish = console(nlp, stdout, stderr)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("", encoding="utf-8")
        watched = list(watch(nlp)) if watch else []
        start = time.perf_counter()

        def log_step(info: dict[str, Any] | None) -> None:
            log(info)
            if info is None or info["score"] is None:
                return
            line = {
                "epoch": info["epoch"],
                "step": info["step"],
                "seconds": time.perf_counter() - start,
                "losses": info["losses"],
                "score": info["score"],
                "scores": info["other_scores"],
                "watch": nlp.evaluate(watched) if watched else {},
            }
            with Path(path).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line, default=float) + "\n")

        return log_step, finish

    return setup
