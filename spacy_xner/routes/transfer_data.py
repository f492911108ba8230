"""The data of a transfer: labels of some languages, text of others, and what speaks against a target."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from spacy_xner.attributes import is_labelled
from spacy_xner.corpus.docs import make_doc, sentence_of, write_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.files import COMPRESSED, describe_file, numbered_lines
from spacy_xner.loading import load_pipeline
from spacy_xner.router.sources import N_SENTENCES, rank_sources
from spacy_xner.routes.settings import read_sentences
from spacy_xner.storage import checksum
from spacy_xner.tokenizer import blank_pipeline
from spacy_xner.training import find_config
from spacy_xner.transformer.checkpoint import describe, load_checkpoint
from spacy_xner.transformer.risk import TransferRisk, describe_risk
from spacy_xner.transformer.wordpieces import split_texts
from spacy_xner.types import Precision
from spacy_xner.vectors.dictionary import read_dictionary

# Below so many labelled sentences a transferred tagger finds little.
LEAST_LABELS = 100
# Wordpieces of a target that may be unknown; warning W141 counts in the same way.
MOST_UNKNOWN = 0.25
# Sentences of a language that the risks are told by, and lines by which a file's kind is told.
N_RISK, N_LINES = 1000, 50
# Endings of dictionaries; a target's first one is read.
DICTIONARIES = (".txt", ".dict")
_TAGGED = re.compile(r"\S+[\t ](?:O|[BIES]-\S+)")


@dataclass(frozen=True)
class Transfer:
    """The settings of a transfer: languages, text, and how long to train.

    corpus: Folder of {lang}-{source}-{split}.spacy files, with labels of the languages.
    out: Folder of the stages and the report; the pipeline is in `pipeline`.
    languages: Languages with labels.
    targets: Languages without; labels of theirs that the corpus has are not read.
    sources: Corpora, as in the file names; all by default.
    text: Folder of plain text of the targets, {lang}.txt, .gz or .xz, a sentence a line.
    limit: Labelled sentences a file; 0 takes all.
    text_limit: Sentences of a target's text; 0 takes all.
    epochs: Passes over the labels, of every round.
    rounds: Rounds of self-training; 0 takes the first tagger.
    share: Share of every batch of text that a student learns; see `objectives.taught`.
    soup_seeds: Trainings of every round, whose weights are averaged; all but the first have its head, frozen.
    dictionaries: Folder of {source}-{target}.txt or .dict, by whose words labelled sentences are switched in
        every training; targets without a file have none.
    """

    corpus: Path
    out: Path
    languages: tuple[str, ...]
    targets: tuple[str, ...]
    sources: tuple[str, ...] = ()
    text: Path | None = None
    encoder: str = "multilingual-e5-small"
    limit: int = 0
    text_limit: int = 5000
    dev_limit: int = 300
    frozen: int = 3
    head_rate: float = 10.0
    learn_rate: float = 2e-4
    epochs: int = 5
    rounds: int = 1
    share: float = 0.7
    batch_size: int = 32
    seed: int = 0
    config: str = "transfer"
    precision: Precision = "auto"
    gpu: int = -1
    soup_seeds: int = 1
    dictionaries: Path | None = None

    @property
    def conditions(self) -> dict[str, Any]:
        """The settings that a stage depends on, as JSON."""
        # A setting that is younger than some results is left out where it changes nothing.
        left_out = {"out", "gpu", "dictionaries", *(("soup_seeds",) if self.soup_seeds == 1 else ())}
        settings = {name: value for name, value in asdict(self).items() if name not in left_out}
        lists = {name: list(settings[name]) for name in ("languages", "targets", "sources")}
        text = [describe_file(path) for target in self.targets for path in self.text_files(target)]
        labelled = [path for paths in self.files("train", self.languages).values() for path in paths]
        lists["labelled"] = [describe_file(path) for path in labelled]
        if self.dictionaries is not None:
            lists["dictionaries"] = [describe_file(path) for path in self.dictionary_files().values()]
        # A recipe that was changed, by its user or with a new version of the package, is another one.
        recipe = [self.config, checksum(find_config(self.config).read_bytes())]
        return {**settings, **lists, "corpus": str(self.corpus.resolve()), "text": text, "config": recipe}

    @property
    def risk_inputs(self) -> dict[str, Any]:
        """The text and the settings that the risks depend on, as JSON."""
        names = ("encoder", "languages", "targets", "sources", "limit", "text_limit")
        known = self.files("train", [])
        paths = [
            path
            for language in (*self.languages, *self.targets)
            for path in (self.text_files(language) if language in self.targets else []) or known[language]
        ]
        encoder = Path(self.encoder)
        paths += sorted(path for path in encoder.iterdir() if path.is_file()) if encoder.is_dir() else []
        settings = {name: getattr(self, name) for name in names}
        lists = {name: list(value) for name, value in settings.items() if isinstance(value, tuple)}
        return {**settings, **lists, "files": [describe_file(path) for path in paths]}

    def files(self, split: str, languages: Sequence[str]) -> dict[str, list[Path]]:
        """Find files of the corpus by language. RAISES: XNER106."""
        return find_files(self.corpus, split, languages, self.sources)

    def text_files(self, language: str) -> list[Path]:
        """Find the files of plain text of a language."""
        if self.text is None:
            return []
        paths = (self.text / f"{language}.txt{ending}" for ending in ("", *COMPRESSED))
        return [path for path in paths if path.is_file()]

    def dictionary_files(self) -> dict[str, Path]:
        """Find the dictionaries by target; there are none without a folder.

        RAISES: XNER666 for several languages with labels, XNER667 if no target has a dictionary.
        """
        if self.dictionaries is None:
            return {}
        if len(self.languages) != 1:
            raise XnerError(Errors.XNER666.format(languages=", ".join(self.languages)))
        [source] = self.languages
        places = {
            target: [self.dictionaries / f"{source}-{target}{end}" for end in DICTIONARIES]
            for target in self.targets
        }
        first = {target: next(filter(Path.is_file, paths), None) for target, paths in places.items()}
        files = {target: path for target, path in first.items() if path is not None}
        if not files:
            expected = ", ".join(path.name for paths in places.values() for path in paths)
            raise XnerError(Errors.XNER667.format(folder=self.dictionaries, expected=expected))
        return files

    def check_dictionaries(self) -> None:
        """Read the dictionaries before any work. RAISES: XNER603, XNER604, XNER666, XNER667."""
        for path in self.dictionary_files().values():
            read_dictionary(path)

    def check(self) -> None:
        """Refuse what cannot be transferred, before any work.

        RAISES: XNER106 without labels of a language, XNER642 for a language that is also a target, XNER660
            without targets, XNER661 for targets without text, XNER662 for tagged text.
        """
        if not self.targets:
            raise XnerError(Errors.XNER660)
        if both := sorted(set(self.languages) & set(self.targets)):
            raise XnerError(Errors.XNER642.format(languages=", ".join(both)))
        for split in ("train", "dev"):
            self.files(split, self.languages)
        known = self.files("train", [])
        missing = [lang for lang in self.targets if lang not in known and not self.text_files(lang)]
        if missing:
            raise XnerError(Errors.XNER661.format(languages=", ".join(missing)))
        for target in self.targets:
            for path in self.text_files(target):
                _check_plain(path)

    def labelled(self, nlp: Language) -> Iterator[Doc]:
        """Read the labelled sentences of all languages."""
        for paths in self.files("train", self.languages).values():
            yield from read_sentences(paths, nlp.vocab, self.limit)

    def texts(self, nlp: Language, target: str) -> Iterator[Doc]:
        """Read a target's text; its labels are there still, if it has any. Plain text comes first."""
        lines = (line.strip() for path in self.text_files(target) for _, line in numbered_lines(path))
        made = (nlp.make_doc(line) for line in lines if line)
        paths = self.files("train", []).get(target, []) if not self.text_files(target) else []
        yield from islice(chain(made, read_sentences(paths, nlp.vocab)), self.text_limit or None)


def write_corpus(transfer: Transfer, folder: Path) -> dict[str, int]:
    """Write labels and text into a corpus of their own. Warns of few labels: W651; of withheld ones: W652.

    RETURNS: Sentences by language.
    RAISES: XNER661 for a target whose text is empty.
    """
    nlp = blank_pipeline()
    sizes: dict[str, int] = {}
    for language in transfer.languages:
        paths = transfer.files("train", [language])[language]
        labelled = read_sentences(paths, nlp.vocab, transfer.limit)
        sizes[language] = write_docs(labelled, folder / f"{language}-gold-train.spacy")["sentences"]
    n_labels = sum(sizes.values())
    if n_labels < LEAST_LABELS:
        warnings.warn(Warnings.W651.format(n=n_labels, least=LEAST_LABELS), stacklevel=2)
    withheld: dict[str, int] = {}
    for target in transfer.targets:
        docs = list(transfer.texts(nlp, target))
        if not docs:
            raise XnerError(Errors.XNER661.format(languages=target))
        withheld[target] = sum(map(is_labelled, docs))
        bare = (make_doc(nlp.vocab, sentence_of(doc), target, labelled=False) for doc in docs)
        sizes[target] = write_docs(bare, folder / f"{target}-text-train.spacy")["sentences"]
    named = [target for target, n in withheld.items() if n]
    if named:
        n, total = sum(withheld.values()), sum(sizes[target] for target in named)
        languages = ", ".join(named)
        warnings.warn(Warnings.W652.format(n=n, total=total, languages=languages), stacklevel=2)
    return sizes


def find_risks(transfer: Transfer) -> dict[str, TransferRisk]:
    """Describe how far each target is from the labelled text. RAISES: XNER663 for an unknown script."""
    checkpoint, tokenizer = load_checkpoint(transfer.encoder)
    unknown_id = describe(checkpoint, tokenizer)["special_ids"].get("unk")
    split = partial(split_texts, tokenizer.backend_tokenizer)
    nlp = blank_pipeline()
    labelled = list(islice(transfer.labelled(nlp), 2 * N_RISK))
    risks = {
        target: describe_risk(islice(transfer.texts(nlp, target), N_RISK), labelled, split, unknown_id)
        for target in transfer.targets
    }
    unknown = [target for target, risk in risks.items() if risk.unknown >= MOST_UNKNOWN]
    if unknown:
        raise XnerError(Errors.XNER663.format(languages=", ".join(unknown)))
    return risks


def choose_sources(transfer: Transfer, n: int, identifier: Path | None) -> dict[str, float]:
    """Rank the languages with labels by the nearness of their text to the targets'; no labels are read.

    n: Languages to choose.
    identifier: A pipeline with a language identifier, whose vectors tell what is near.
    RETURNS: The n best languages, with their shares of the targets' nearest sentences.
    RAISES: XNER665, XNER421 without an identifier, XNER664.
    """
    if identifier is None or not 1 <= n <= len(transfer.languages):
        raise XnerError(
            Errors.XNER665.format(
                n=len(transfer.languages), languages=", ".join(transfer.languages), found=n,
                identifier=str(identifier or ""),
            )
        )  # fmt: skip
    sources, targets = embed_languages(transfer, identifier)
    return dict(islice(rank_sources(sources, targets).items(), n))


def embed_languages(transfer: Transfer, identifier: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute the identifier's vectors of the first sentences of every language; no labels are read.

    RETURNS: Vectors by language with labels, and by target. Shape: (n_sentences, width) each.
    RAISES: XNER421 without an identifier.
    """
    nlp = load_pipeline(identifier, "language_identifier")
    embed: Any = nlp.get_pipe("language_identifier")
    blank = blank_pipeline()

    def vectors(docs: Iterator[Doc]) -> Any:
        return embed.embed([nlp.make_doc(doc.text) for doc in islice(docs, N_SENTENCES)])

    files = transfer.files("train", transfer.languages)
    labelled = {
        language: vectors(read_sentences(files[language], blank.vocab)) for language in transfer.languages
    }
    return labelled, {target: vectors(transfer.texts(blank, target)) for target in transfer.targets}


def _check_plain(path: Path) -> None:
    """Look whether the first lines of a text file are tagged tokens. RAISES: XNER662."""
    lines = [line.strip() for _, line in islice(numbered_lines(path), N_LINES) if line.strip()]
    tagged = [line for line in lines if _TAGGED.fullmatch(line)]
    if 2 * len(tagged) > len(lines):
        raise XnerError(Errors.XNER662.format(path=path, n=len(tagged), total=len(lines), example=tagged[0]))
