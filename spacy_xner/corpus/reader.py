"""The corpus reader that mixes the documents of several languages into one stream."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_xner.attributes import SOURCE_KEY, register_attributes
from spacy_xner.corpus.docs import read_docs, without_annotation
from spacy_xner.corpus.names import file_source, find_files
from spacy_xner.corpus.overlaps import fingerprint
from spacy_xner.errors import Errors, Warnings, XnerError, check_counts
from spacy_xner.types import Count

# spaCy's augmenters: other examples in the place of one.
Augmenter: TypeAlias = Callable[[Language, Example], Iterator[Example]]


def create_multilingual_corpus(
    path: Path,
    split: str | None = None,
    languages: list[str] | None = None,
    sources: list[str] | None = None,
    unlabelled: list[str] | None = None,
    limit: Count = 0,
    max_length: Count = 0,
    temperature: float = 1.0,
    gold_tokens: bool = True,
    known_language: bool = True,
    held_out: Path | None = None,
    unannotated: dict[str, list[str]] | None = None,
    seed: int = 0,
    augmenter: Augmenter | None = None,
) -> "MultilingualCorpus":
    """Create a reader of `{lang}-{source}-{split}.spacy` files; see `MultilingualCorpus`."""
    return MultilingualCorpus(
        path,
        split=split,
        languages=languages or [],
        sources=sources or [],
        unlabelled=unlabelled or [],
        limit=limit,
        max_length=max_length,
        temperature=temperature,
        gold_tokens=gold_tokens,
        known_language=known_language,
        held_out=held_out,
        unannotated=unannotated or {},
        seed=seed,
        augmenter=augmenter,
    )


class MultilingualCorpus:
    """Mix the documents of several languages into one stream of examples.

    path: A folder of `{lang}-{source}-{split}.spacy` files, or one file.
    split: Which files of the folder; all of them if None.
    languages, sources: Which languages and sources of the folder; all of them if empty.
    unlabelled: Languages whose annotation is withheld: text for auxiliary objectives.
    limit: The first so many documents of each file; 0 takes all.
    max_length: Longer documents are left out; 0 takes all. Unit: tokens.
    temperature: 1 keeps the sizes, greater values even them out: language l gets a share proportional
        to size ** (1 / temperature) of the same total, by repeating or leaving out documents.
    gold_tokens: Predict on the corpus' tokens; otherwise on those of the pipeline's tokenizer.
    known_language: Tell the pipeline the language; otherwise its identifier has to find it.
    held_out: File or folder (split test) whose sentences are dropped from this corpus.
    unannotated: Labels that a corpus does not annotate, by its name in file names. Taggers take text without
        an entity there as O or as one of them, and the scorer does not count what is found of them.
    seed: Random seed of the order in which languages are mixed.
    augmenter: Makes other examples of each one: `spacy_xner.code_switching.v1`, or one of spaCy's. spaCy
        reads a corpus once, unless `training.max_epochs` is -1: all passes learn from the same examples.
    """

    def __init__(
        self,
        path: Path,
        *,
        split: str | None,
        languages: list[str],
        sources: list[str],
        unlabelled: list[str],
        limit: int,
        max_length: int,
        temperature: float,
        gold_tokens: bool,
        known_language: bool,
        held_out: Path | None,
        unannotated: dict[str, list[str]],
        seed: int,
        augmenter: Augmenter | None = None,
    ) -> None:
        check_counts(limit=limit, max_length=max_length)
        if temperature < 1:
            raise XnerError(Errors.XNER112.format(temperature=temperature))
        register_attributes()
        self.path = Path(path)
        self.split = split
        self.languages = list(languages)
        self.sources = list(sources)
        self.unlabelled = frozenset(unlabelled)
        self.limit = limit
        self.max_length = max_length
        self.temperature = temperature
        self.gold_tokens = gold_tokens
        self.known_language = known_language
        self.held_out = Path(held_out) if held_out else None
        self.unannotated = _check_corpora(self.path, unannotated)
        self.seed = seed
        self.augmenter = augmenter

    def __call__(self, nlp: Language) -> Iterator[Example]:
        files = find_files(self.path, self.split, self.languages, self.sources)
        streams = {lang: self._read_language(nlp.vocab, paths) for lang, paths in files.items()}
        languages = list(streams)
        sizes = numpy.array([len(streams[lang]) for lang in languages])
        shares = sample_sizes(sizes, self.temperature)
        order = numpy.repeat(numpy.arange(len(languages)), shares)
        rng = numpy.random.default_rng(self.seed)
        rng.shuffle(order)
        chosen = {
            lang: iter(_choose(streams[lang], share, rng))
            for lang, share in zip(languages, shares, strict=True)
        }
        for i in order:
            example = self._make_example(nlp, next(chosen[languages[i]]))
            yield from _augment(nlp, example, self.augmenter) if self.augmenter else (example,)

    def _read_language(self, vocab: Vocab, paths: list[Path]) -> list[Doc]:
        held_out = self._held_out(vocab)
        docs: list[Doc] = []
        for path in paths:
            fresh = list(read_docs(path).get_docs(vocab))
            remaining = [doc for doc in fresh if fingerprint(doc) not in held_out] if held_out else fresh
            if len(remaining) < len(fresh):
                n = len(fresh) - len(remaining)
                warnings.warn(Warnings.W103.format(n=n, total=len(fresh), path=path), stacklevel=2)
            short = [doc for doc in remaining if not self.max_length or len(doc) <= self.max_length]
            chosen = short[: self.limit] if self.limit else short
            for doc in chosen:
                self._describe(doc, path)
            docs.extend(chosen)
        if not docs:
            raise XnerError(Errors.XNER103.format(path=", ".join(map(str, paths))))
        return docs

    def _describe(self, doc: Doc, path: Path) -> None:
        """Write the corpus of a document on it, and what the corpus does not annotate. RAISES: XNER148."""
        doc._.corpus = corpus = file_source(path)
        if labels := self.unannotated.get(corpus):
            doc._.unannotated = labels
            for ent in doc.ents:
                if ent.label_ in labels:
                    raise XnerError(Errors.XNER148.format(path=path, corpus=corpus, label=ent.label_))

    def _held_out(self, vocab: Vocab) -> set[bytes]:
        """RETURNS: Fingerprints of the sentences, which corpora that cut tokens otherwise have too."""
        if self.held_out is None:
            return set()
        files = find_files(self.held_out, "test", [])
        paths = [path for group in files.values() for path in group]
        return {fingerprint(doc) for path in paths for doc in read_docs(path).get_docs(vocab)}

    def _make_example(self, nlp: Language, reference: Doc) -> Example:
        if reference._.language in self.unlabelled:
            reference = without_annotation(reference)
        predicted = without_annotation(reference) if self.gold_tokens else nlp.make_doc(reference.text)
        predicted._.language = reference._.language if self.known_language else None
        if SOURCE_KEY in reference.user_data:
            # The parallel document is what a projector reads, no annotation.
            predicted.user_data[SOURCE_KEY] = reference.user_data[SOURCE_KEY]
        return Example(predicted, reference)


def _choose(docs: list[Doc], share: int, rng: numpy.random.Generator) -> list[Doc]:
    """Repeat the documents or leave some out at random, from every file alike."""
    n_passes, rest = divmod(int(share), len(docs))
    return docs * n_passes + [docs[i] for i in rng.choice(len(docs), rest, replace=False)]


def _augment(nlp: Language, example: Example, augmenter: Augmenter) -> Iterator[Example]:
    """Yield what an augmenter makes of an example, with what the reader knows of its document."""
    for augmented in augmenter(nlp, example):
        for name in ("language", "corpus", "unannotated"):
            if augmented.reference._.get(name) is None:
                augmented.reference._.set(name, example.reference._.get(name))
        yield augmented


def _check_corpora(path: Path, unannotated: dict[str, list[str]]) -> dict[str, list[str]]:
    """RETURNS: Sorted labels by corpus. RAISES: XNER147 for a corpus that has no file in the folder."""
    files = [path] if path.is_file() else path.glob("*.spacy")
    corpora = {file_source(file) for file in files}
    for corpus in unannotated:
        if corpus not in corpora:
            names = ", ".join(sorted(corpora)) or "none"
            raise XnerError(Errors.XNER147.format(corpus=corpus, path=path, names=names))
    return {corpus: sorted(labels) for corpus, labels in unannotated.items()}


def sample_sizes(sizes: numpy.ndarray, temperature: float) -> numpy.ndarray:
    """Share the same total out among languages by size ** (1 / temperature).

    sizes: Documents per language. Shape: (n_languages,).
    RETURNS: Documents to take per language, at least 1. Shape: (n_languages,).
    SOURCE: Devlin et al. 2019, multilingual BERT's exponentially smoothed sampling.
    """
    if temperature == 1:
        return sizes
    weights = sizes ** (1 / temperature)
    return numpy.maximum(1, numpy.rint(sizes.sum() * weights / weights.sum())).astype("int64")
