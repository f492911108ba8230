"""Smaller pipelines: without the wordpieces that nobody needs, and with weights in fewer bytes."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.vocab import Vocab

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.deploy.vocabulary import (
    Keep,
    Words,
    choose_ids,
    cut_tokenizer,
    read_vocabulary,
    read_words,
    without_letters,
)
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.files import folder_size, fresh_folder, numbered_lines
from spacy_xner.loading import load_pipeline
from spacy_xner.netfile import write_network
from spacy_xner.packing import STORAGES, Storage
from spacy_xner.shim import TorchShim
from spacy_xner.transformer.network import TransformerNetwork

# Models that count positions from the padding id on: it must stay what it is.
_POSITIONS_FROM_PAD = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"}


class Trimmed(NamedTuple):
    """How many wordpieces there were, how many remain, and the bytes of the folder if there is one."""

    n_before: int
    n_after: int
    n_bytes: int = 0


def read_texts(
    paths: Iterable[Path], languages: Sequence[str] = (), splits: Sequence[str] = ("train", "dev")
) -> Iterator[str]:
    """Read the texts of corpora: of `.spacy` files, of folders of them, or of text files by line.

    languages, splits: Which files of folders; all languages if empty.
    RAISES: XNER105, XNER106, XNER104.
    """
    for path in paths:
        if path.is_dir():
            for split in splits:
                files = find_files(path, split, languages)
                yield from (text for group in files.values() for file in group for text in _read_docs(file))
        elif path.suffix == ".spacy":
            yield from _read_docs(path)
        else:
            yield from (line for _, line in numbered_lines(path))


def _read_docs(path: Path) -> Iterator[str]:
    vocab = Vocab()
    return (doc.text for doc in read_docs(path).get_docs(vocab))


def trim_folder(path: Path, out: Path, texts: Iterable[str], **settings: Any) -> Trimmed:
    """Write a trimmed copy of a pipeline.

    settings: See `trim`. RAISES: As `trim`; XNER420, XNER701 to XNER703.
    """
    nlp = load_pipeline(path)
    sizes = trim(nlp, texts, **settings)
    with fresh_folder(out) as folder:
        nlp.to_disk(folder)
    return sizes._replace(n_bytes=folder_size(out))


def trim(
    nlp: Language,
    texts: Iterable[str],
    *,
    languages: Sequence[str] = (),
    keep: Keep = "scripts",
    storage: Storage = "float16",
) -> Trimmed:
    """Cut the vocabularies of all encoders of a pipeline, in place.

    Wordpieces in the words of the texts stay, so that these are read as before; single characters, bytes and
    special tokens stay too. See `vocabulary.choose_ids` for `keep`, and `packing` for `storage`.

    languages: Languages that the pipeline is to read; those of its components if empty. Warns (W140) if
        the texts have nothing in the script of one.
    RAISES: XNER140, XNER143 for an unknown storage, XNER144 for a vocabulary of another kind than Unigram and
        WordPiece, XNER145 without any text, XNER146 for a pipeline without a transformer.
    """
    if storage not in STORAGES:
        raise XnerError(Errors.XNER143.format(known=", ".join(STORAGES), found=storage))
    shims = transformer_shims(nlp)
    if not shims:
        raise XnerError(Errors.XNER146.format(names=", ".join(nlp.component_names) or "none"))
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise XnerError(Errors.XNER145)
    choices: dict[str, list[int]] = {}
    sizes = Trimmed(0, 0)
    for shim in shims:
        network: Any = shim.network
        stored = shim.cfg["tokenizer"]
        if stored not in choices:
            words = read_words(network.tokenizer, texts)
            _warn_of_missing(languages or known_languages(nlp), words)
            choices[stored] = choose_ids(read_vocabulary(stored), words, keep)
        sizes = _trim_network(shim, choices[stored], storage)
    return sizes


def transformer_shims(nlp: Language) -> list[TorchShim]:
    """Find the transformers of a pipeline, those of disabled components too."""
    models = [component.model for _, component in nlp.components if hasattr(component, "model")]
    return [
        shim
        for model in models
        for node in model.walk()
        for shim in node.shims
        if isinstance(shim, TorchShim) and shim.is_built and isinstance(shim.network, TransformerNetwork)
    ]


def known_languages(nlp: Language) -> list[str]:
    """Name the languages that the components of a routed pipeline know; none for a tagger alone."""
    languages: set[str] = set()
    for _, component in nlp.components:
        grouping = getattr(component, "grouping", None)
        languages.update(getattr(grouping, "languages", ()))
    return sorted(languages)


def _warn_of_missing(languages: Sequence[str], words: Words) -> None:
    missing = without_letters(languages, words)
    if missing:
        warnings.warn(Warnings.W140.format(languages=", ".join(missing)), stacklevel=3)


def _trim_network(shim: TorchShim, ids: list[int], storage: Storage) -> Trimmed:
    network: Any = shim.network
    cfg, tensors, name = shim.cfg, dict(network.state_dict()), network.table_name
    n_before = len(tensors[name])
    special = set(cfg["special_ids"].values())
    if cfg["config"].get("model_type") in _POSITIONS_FROM_PAD:
        special |= set(range(cfg["special_ids"]["pad"] + 1))
    ids = sorted({*ids, *special})
    new = {old: i for i, old in enumerate(ids)}
    tensors[name] = tensors[name][ids]
    trimmed = {
        **cfg,
        "config": _renumber(cfg["config"], new, len(ids)),
        "tokenizer": cut_tokenizer(cfg["tokenizer"], ids),
        "special_ids": {kind: new[i] for kind, i in cfg["special_ids"].items()},
    }
    shim.from_bytes(write_network(trimmed, tensors, storage))
    return Trimmed(n_before, len(ids))


def _renumber(config: dict[str, Any], new: dict[int, int], n_rows: int) -> dict[str, Any]:
    """Renumber the special tokens in the config of an encoder."""
    changed = {
        key: new.get(value)
        for key, value in config.items()
        if key.endswith("_token_id") and isinstance(value, int)
    }
    return {**config, **changed, "vocab_size": n_rows}
