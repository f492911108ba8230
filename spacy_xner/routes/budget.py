"""Equal time for all routes: the speed of a training is measured, and its steps are counted from it."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.cli._util import setup_gpu
from spacy.schemas import ConfigSchemaTraining
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches
from spacy.util import load_config, registry, resolve_dot_names

from spacy_xner.training import fixed_steps

# Evaluations of every training with a time limit.
N_EVALUATIONS = 8
# Steps that warm up, and then steps whose time is measured.
N_WARM, N_TIMED = 3, 20


def limit_time(overrides: dict[str, Any], seconds: float, seconds_per_step: float) -> dict[str, Any]:
    """Let a training have as many steps as there is time for, evaluations not counted."""
    steps = max(1, round(seconds / seconds_per_step / N_EVALUATIONS))
    return {**overrides, **fixed_steps(steps * N_EVALUATIONS, eval_frequency=steps)}


def until_convergence(overrides: dict[str, Any], steps: int, max_epochs: int) -> dict[str, Any]:
    """Let a training go on until a quarter of its epochs brought no better score.

    steps: Steps of an epoch.
    """
    patience = {"training.patience": steps * max_epochs // 4}
    return {**overrides, **patience, **fixed_steps(steps * max_epochs, eval_frequency=steps)}


def measure_step(config: Path, overrides: dict[str, Any], gpu: int) -> float:
    """Train a few steps and forget them.

    RETURNS: Seconds a step. On a CPU, time that other programs took is left out.
    """
    setup_gpu(gpu, silent=True)
    if objectives := overrides.get("components.ner.objectives"):
        # Labels are drawn anew with every batch: one draw alone may let all sentences pass or none.
        renewed = {name: {**objective, "refresh_every": 1} for name, objective in objectives.items()}
        overrides = {**overrides, "components.ner.objectives": renewed}
    nlp = init_nlp(load_config(config, overrides=overrides, interpolate=False), use_gpu=gpu)
    resolved = nlp.config.interpolate()
    training = registry.resolve(resolved["training"], schema=ConfigSchemaTraining)
    [corpus] = resolve_dot_names(resolved, [training["train_corpus"]])
    batches = create_train_batches(nlp, corpus, training["batcher"], 0)
    before = (0.0, 0.0)
    for number, (_, batch) in enumerate(islice(batches, N_WARM + N_TIMED)):
        if number == N_WARM:
            before = time.perf_counter(), time.process_time()
        nlp.update(batch, sgd=training["optimizer"], drop=training["dropout"])
    after = time.perf_counter(), time.process_time()
    wall, processor = (end - begin for begin, end in zip(before, after, strict=True))
    # Several threads take more processor time than passes; a GPU works while the processor waits.
    return (wall if gpu >= 0 else min(wall, processor)) / N_TIMED
