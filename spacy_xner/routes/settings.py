"""Parts of training configs, and counts of sentences."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.training import steps_per_epoch
from spacy_xner.types import Precision


def run_overrides(
    corpus: Path,
    curves: Path,
    settings: dict[str, Any],
    *,
    languages: list[str],
    sources: list[str],
    n_frozen_layers: int,
    seed: int,
    precision: Precision,
) -> dict[str, Any]:
    """Overrides of the config `transformer` that every training has.

    settings: Values of encoder, limit, dev_limit, batch_size and learn_rate.
    """
    return {
        "paths.corpus": str(corpus),
        "paths.encoder": settings["encoder"],
        "paths.curves": str(curves),
        "vars.languages": languages,
        "vars.sources": sources,
        **{f"vars.{key}": settings[key] for key in ("limit", "dev_limit", "batch_size", "learn_rate")},
        "vars.n_frozen_layers": n_frozen_layers,
        "vars.precision": precision,
        "system.seed": seed,
    }


def learn_from_text(languages: list[str], targets: list[str], objectives: dict[str, Any]) -> dict[str, Any]:
    """Overrides for objectives on the targets' text, a batch of it beside each batch of labels.

    languages: Languages with labels.
    RAISES: XNER642 for a target that has labels.
    """
    if both := sorted(set(languages) & set(targets)):
        raise XnerError(Errors.XNER642.format(languages=", ".join(both)))
    return {
        "corpora.train.languages": [*languages, *targets],
        "vars.unlabelled": targets,
        "components.ner.objectives": objectives,
    }


def augment(language: str, target: str, **settings: Any) -> dict[str, Any]:
    """Overrides for augmented fine-tuning. settings: Arguments of `spacy_xner.augmented_tuning.v1`."""
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
    """Count the training sentences of some languages, each file up to the limit; 0 takes all."""
    files = find_files(corpus, "train", languages, sources)
    sizes = [len(read_docs(path)) for paths in files.values() for path in paths]
    return sum(min(limit, size) if limit else size for size in sizes)


def mean_length(corpus: Path, languages: list[str], limit: int, sources: Sequence[str] = ()) -> float:
    """Find the mean length of training sentences in tokens, each file up to the limit; 0 takes all."""
    files = find_files(corpus, "train", languages, sources)
    paths = [path for group in files.values() for path in group]
    sizes = [len(doc) for doc in read_sentences(paths, Vocab(), limit)]
    return sum(sizes) / max(1, len(sizes))


def reader(
    corpus: Path, split: str, languages: list[str], limit: int, sources: Sequence[str] = ()
) -> dict[str, Any]:
    """Describe a corpus as it stands in a config."""
    return {
        "@readers": "spacy_xner.MultilingualCorpus.v1",
        "path": str(corpus),
        "split": split,
        "languages": languages,
        "sources": list(sources),
        "limit": limit,
    }
