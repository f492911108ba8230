"""The task of a comparison: the data that the user has, the language to tag, and how much may be spent."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import COMPRESSED, numbered_lines
from spacy_xner.router.grouping import read_grouping
from spacy_xner.training import config_path
from spacy_xner.transformer.checkpoint import load_checkpoint
from spacy_xner.types import Precision


@dataclass(frozen=True)
class Settings:
    """Settings that two routes must share for their results to be comparable.

    language: Language with labels.
    target: Language to tag.
    sources: Corpora, as in the file names; all by default.
    limit: Labelled sentences a file; 0 takes all.
    dev_limit, test_limit: Sentences of a file that are scored; 0 takes all.
    minutes: Training steps of a route, as time; 0 trains to convergence.
    """

    language: str
    target: str
    sources: tuple[str, ...] = ()
    encoder: str = "multilingual-e5-small"
    limit: int = 2000
    dev_limit: int = 300
    test_limit: int = 500
    minutes: float = 0.0
    learn_rate: float = 2e-4
    batch_size: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Data besides labels; each route needs some of it.

    parallel: One file of `source TAB target`, or two files, a sentence a line.
    reverse: The dictionary goes from target to source.
    text: Folder of plain text, {lang}.txt, .gz or .xz.
    grouping: Clusters of languages; only labels of the target's cluster are learnt.
    pairs: Pairs of parallel sentences to read; 0 takes all.
    words: Words a language that get vectors; 0 takes all.
    """

    parallel: tuple[Path, ...] = ()
    dictionary: Path | None = None
    reverse: bool = False
    text: Path | None = None
    grouping: Path | None = None
    pairs: int = 10_000
    words: int = 30_000


@dataclass(frozen=True)
class Task:
    """A comparison of routes.

    corpus: Folder of {lang}-{source}-{split}.spacy files.
    out: Folder of the results and pipelines.
    configs: Folder of training configs; by default those that are installed.
    """

    corpus: Path
    out: Path
    settings: Settings
    data: Data = field(default_factory=Data)
    configs: Path | None = None
    precision: Precision = "auto"
    gpu: int = -1

    @property
    def language(self) -> str:
        """The language with labels."""
        return self.settings.language

    @property
    def target(self) -> str:
        """The language to tag."""
        return self.settings.target

    @property
    def sources(self) -> list[str]:
        """Corpora, as in the file names."""
        return list(self.settings.sources)

    @property
    def conditions(self) -> dict[str, Any]:
        """The settings as they stand in every result, as JSON."""
        sources = ",".join(self.sources)
        settings = {name: value for name, value in asdict(self.settings).items() if name != "sources"}
        return {**settings, "source": sources, "corpus": str(self.corpus.resolve())}

    @cached_property
    def n_layers(self) -> int:
        """Layers of the encoder."""
        return int(load_checkpoint(self.settings.encoder)[0].config.num_hidden_layers)

    @cached_property
    def labelled(self) -> list[str]:
        """Languages with labels to train on: those of the target's cluster, all without a grouping."""
        known = set(find_files(self.corpus, "train", [], self.sources))
        if self.data.grouping is not None:
            grouping = read_grouping(self.data.grouping)
            known &= set(grouping.clusters[grouping.cluster_of[self.target]])
        return sorted(known - {self.target})

    def config(self, name: str) -> Path:
        """Path of a training config. RAISES: XNER115 for a name that is not installed."""
        return config_path(name) if self.configs is None else self.configs / f"{name}.cfg"

    def has(self, language: str, split: str) -> bool:
        """True if there is a file of this language and split."""
        return language in find_files(self.corpus, split, [], self.sources)

    def files(self, language: str) -> list[Path]:
        """Training files of a language."""
        return find_files(self.corpus, "train", [language], self.sources)[language]

    def texts(self, language: str) -> list[Path]:
        """Files of plain text of a language."""
        folder = self.data.text
        if folder is None:
            return []
        paths = (folder / f"{language}.txt{ending}" for ending in ("", *COMPRESSED))
        return [path for path in paths if path.is_file()]

    def lines(self, language: str) -> Iterator[str]:
        """Iterate over the lines of the plain text of a language."""
        return (line for path in self.texts(language) for _, line in numbered_lines(path))

    def has_text(self) -> bool:
        """True if there is unlabelled text of the target: a train file's, or plain text."""
        return self.has(self.target, "train") or bool(self.texts(self.target))

    def check(self) -> None:
        """Refuse a task that no route can do.

        RAISES: XNER106 without labels of the language or test sentences of the target, XNER643 for a target
            that is the language with labels, XNER644 for a grouping without the target.
        """
        if self.target == self.language:
            raise XnerError(Errors.XNER643.format(target=self.target))
        grouping = self.data.grouping
        if grouping is not None and self.target not in read_grouping(grouping).cluster_of:
            raise XnerError(Errors.XNER644.format(path=grouping, target=self.target))
        for split, language in (("train", self.language), ("dev", self.language), ("test", self.target)):
            find_files(self.corpus, split, [language], self.sources)
