"""What the experiments have in common: runs that are shared among processes, kept and never mixed up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout
from spacy.tokens import Doc
from spacy.vocab import Vocab
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.files import read_json
from spacy_xner.training import steps_per_epoch

# The files that experiments write beside their runs, and are known by.
JOINT, PLAN, RISKS = "joint-plan.json", "plan.json", "risk.json"
CORPORA, PARTS = "silver.json", "parts.json"
MARKS = (JOINT, PLAN, RISKS, CORPORA, PARTS)


def kind_of(folder: Path) -> str | None:
    """Which of MARKS a folder of runs has."""
    return next((mark for mark in MARKS if (folder / mark).exists()), None)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the result of every finished run."""
    return [read_json(path) for path in sorted(folder.glob("*.json")) if path.name not in MARKS]


@contextmanager
def claim(result: Path) -> Iterator[bool]:
    """Hold the lock of a result, so that several processes can share a plan; that of a dead process is free.

    YIELDS: False if another process holds it.
    """
    # Lock files stay: who removes one may remove another's.
    locks = result.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{result.stem}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


class PlannedRun(Protocol):
    """A named tuple of what makes a run; `name` is that of its result file."""

    @property
    def name(self) -> str: ...

    def _asdict(self) -> dict[str, Any]: ...


RunT = TypeVar("RunT", bound=PlannedRun)


def unfinished(
    plan: Sequence[RunT],
    out: Path,
    settings_of: Callable[[RunT], dict[str, Any]],
    kept_of: Callable[[RunT], Path | None] = lambda run: None,
) -> Iterator[tuple[RunT, Path, dict[str, Any]]]:
    """Iterate over the runs that neither have a result nor another process at them.

    settings_of: Of a run, only asked once the run is ours: some read the files it is made of.
    kept_of: Where a run's pipeline belongs; without it a run is not finished.
    YIELDS: A run, the path of its result and its settings. It is ours until the next one is asked for.
    """
    for number, run in enumerate(plan, start=1):
        path, kept = out / f"{run.name}.json", kept_of(run)
        with claim(path) as is_mine:
            if not is_mine:
                msg.info(f"{run.name}: another process is at it")
                continue
            settings = settings_of(run)
            if is_done(path, settings, **run._asdict()) and (kept is None or kept.exists()):
                msg.info(f"{run.name}: done before")
            else:
                msg.divider(f"{run.name} ({number} of {len(plan)})")
                yield run, path, settings


def is_done(path: Path, settings: dict[str, Any], **run: Any) -> bool:
    """True for a finished run of the same kind; stops at one with other settings.

    run: Fields of the result that make it the same run.
    """
    if not path.exists():
        return False
    try:
        found = read_json(path)
        before = found["settings"]
    except (ValueError, KeyError, TypeError):
        msg.fail(f"{path} is no result of this script. Move it away, or choose another folder.", exits=1)
    if any(found.get(key) != value for key, value in run.items()):
        return False
    if before != settings:
        names = sorted({*before, *settings})
        changed = {k: (before.get(k), settings.get(k)) for k in names if before.get(k) != settings.get(k)}
        msg.fail(
            f"{path} was run with other settings (then, now): {changed}. Choose another folder.", exits=1
        )
    return True


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


def learn_from_text(languages: list[str], targets: list[str], objectives: dict[str, Any]) -> dict[str, Any]:
    """Overrides for objectives on the targets' text, a batch of it beside each of the languages' labels."""
    if both := sorted(set(languages) & set(targets)):
        msg.fail(f"{', '.join(both)}: a language with labels cannot be one without", exits=1)
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
