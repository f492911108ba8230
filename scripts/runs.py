"""What the experiments have in common: runs that are shared among processes, kept and never mixed up."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab
from wasabi import msg

from spacy_xner.corpus import find_files, read_docs

from common import read_json

# The files that experiments write beside their runs, and are known by; joint.py writes none.
PLAN, RISKS, CORPORA, PARTS = "plan.json", "risk.json", "silver.json", "parts.json"


def kind_of(folder: Path) -> str | None:
    """Which of PLAN, RISKS, CORPORA and PARTS a folder of runs has."""
    return next((mark for mark in (PLAN, RISKS, CORPORA, PARTS) if (folder / mark).exists()), None)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the result of every finished run."""
    marks = {PLAN, RISKS, CORPORA, PARTS}
    return [read_json(path) for path in sorted(folder.glob("*.json")) if path.name not in marks]


@contextmanager
def claim(lock: Path) -> Iterator[bool]:
    """Hold a lock file, so that several processes can share a plan; one left by a dead process counts not.

    YIELDS: False if a living process of this machine holds it.
    """
    if lock.exists():
        try:
            os.kill(int(lock.read_text()), 0)
        except (ProcessLookupError, ValueError):
            lock.unlink(missing_ok=True)
    try:
        with lock.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        yield False
        return
    try:
        yield True
    finally:
        lock.unlink(missing_ok=True)


def is_done(path: Path, settings: dict[str, Any], **run: Any) -> bool:
    """True for a finished run of the same kind; stops at one with other settings.

    run: Fields of the result that make it the same run.
    """
    if not path.exists():
        return False
    found = read_json(path)
    if any(found[key] != value for key, value in run.items()):
        return False
    if found["settings"] != settings:
        changed = {
            k: (found["settings"].get(k), v) for k, v in settings.items() if found["settings"].get(k) != v
        }
        msg.fail(
            f"{path} was run with other settings (then, now): {changed}. Choose another folder.", exits=1
        )
    return True


def steps_per_epoch(n_sentences: int, batch_size: int = 32) -> int:
    """Batches of one pass over the corpus."""
    return -(-n_sentences // batch_size)


def run_overrides(
    corpus: Path,
    curves: Path,
    settings: dict[str, Any],
    *,
    languages: list[str],
    sources: list[str],
    n_frozen_layers: int,
    seed: int,
    mixed_precision: bool,
) -> dict[str, Any]:
    """Overrides of configs/transformer.cfg that every experiment has.

    settings: encoder, limit, dev_limit, batch_size, learn_rate.
    """
    return {
        "paths.corpus": str(corpus),
        "paths.encoder": settings["encoder"],
        "paths.curves": str(curves),
        "vars.languages": languages,
        "vars.sources": sources,
        **{f"vars.{key}": settings[key] for key in ("limit", "dev_limit", "batch_size", "learn_rate")},
        "vars.n_frozen_layers": n_frozen_layers,
        "vars.mixed_precision": mixed_precision,
        "system.seed": seed,
    }


def fixed_steps(n_steps: int, *, eval_frequency: int) -> dict[str, Any]:
    """Overrides for a training of so many steps, the last of which is evaluated."""
    return {
        "vars.eval_frequency": eval_frequency,
        "vars.total_steps": n_steps,
        # The step after the last epoch is the one that spaCy evaluates.
        "training.max_epochs": 0,
        "training.max_steps": n_steps,
    }


def learn_from_text(languages: list[str], targets: list[str], objectives: dict[str, Any]) -> dict[str, Any]:
    """Overrides for objectives on the targets' text, a batch of it beside each of the languages' labels."""
    return {
        "corpora.train.languages": [*languages, *targets],
        "vars.unlabelled": targets,
        "training.batcher.keep_surplus": False,
        "components.ner.objectives": objectives,
    }


def augment(language: str, target: str, **settings: Any) -> dict[str, Any]:
    """Overrides for augmented fine-tuning. settings: Of `spacy_xner.augmented_tuning.v1`."""
    objective = {"@misc": "spacy_xner.augmented_tuning.v1", **settings}
    return learn_from_text([language], [target], {"augmented": objective})


def text_steps(steps: int, n_texts: int, batch_size: int) -> int:
    """Batches of text in a pass: every batch of labels takes at most one along. steps: Batches of labels."""
    return min(steps, steps_per_epoch(n_texts, batch_size))


def read_sentences(paths: Iterable[Path], vocab: Vocab, limit: int = 0) -> Iterator[Doc]:
    """Read corpus files one after the other, each up to the limit; 0 takes all."""
    for path in paths:
        yield from islice(read_docs(path).get_docs(vocab), limit or None)


def count_sentences(corpus: Path, languages: list[str], limit: int, sources: Sequence[str] = ()) -> int:
    """Training sentences of some languages, each file up to the limit."""
    files = find_files(corpus, "train", languages, sources)
    sizes = [len(read_docs(path)) for paths in files.values() for path in paths]
    return sum(min(limit, size) if limit else size for size in sizes)


def reader(
    corpus: Path, split: str, languages: list[str], limit: int, sources: Sequence[str] = ()
) -> dict[str, Any]:
    """A corpus as it stands in a config."""
    return {
        "@readers": "spacy_xner.MultilingualCorpus.v1",
        "path": str(corpus),
        "split": split,
        "languages": languages,
        "sources": list(sources),
        "limit": limit,
    }
