"""Look into a tagger: right tags by sentence length, and entity words of two languages in one picture.

SOURCE: Bari et al. 2020, Figures 2 and 3.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import spacy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Token
from wasabi import msg

from spacy_xner.corpus.docs import without_annotation
from spacy_xner.corpus.names import find_files
from spacy_xner.files import write_json
from spacy_xner.routes.settings import read_sentences
from spacy_xner.vectors.table import Lookup, VectorTable, read_table
from spacy_xner.vectors.words import SEPARATOR, key_of, normalise

# Upper ends of the bins of sentence lengths, in tokens.
ENDS = (5, 10, 15, 20, 30, 50, 100, 250)
# Gives the vectors of every token of documents.
Read = Callable[[list[Doc]], list[NDArray[numpy.float32]]]


def count_lengths(pipelines: Path, corpus: Path, out: Path, sources: list[str], limit: int = 0) -> None:
    """Count rightly tagged words by sentence length, for every pipeline of a folder.

    pipelines: One folder a language, as `paths.keep` of an experiment has them.
    out: JSON file, `{results}/figures/lengths.json` for the report.
    limit: Sentences a language; 0 takes all.
    """
    counts = {}
    for folder in sorted(path for path in pipelines.iterdir() if (path / "config.cfg").exists()):
        nlp = spacy.load(folder)
        docs = read_language(corpus, folder.name, sources, nlp, limit)
        tagged = nlp.pipe(map(without_annotation, docs))
        counts[folder.name] = count_by_length(zip(tagged, docs, strict=True))
    rows = [
        (lang, *(f"{100 * right / n:.1f}" if n else "–" for right, n in by_length.values()))
        for lang, by_length in counts.items()
    ]
    msg.table(rows, header=("tokens", *(f"to {end}" for end in ENDS)), divider=True)
    write_json(out, counts)


def count_by_length(pairs: Iterable[tuple[Doc, Doc]]) -> dict[int, tuple[int, int]]:
    """Count entity words with their right label, by the sentence's length.

    pairs: Predicted and gold. RETURNS: Right ones and all of them, by the upper end of the bin.
    """
    counts = {end: [0, 0] for end in ENDS}
    for predicted, gold in pairs:
        end = next((end for end in ENDS if len(gold) <= end), ENDS[-1])
        inside = [token for token in gold if token.ent_type_]
        counts[end][0] += sum(predicted[token.i].ent_type_ == token.ent_type_ for token in inside)
        counts[end][1] += len(inside)
    return {end: (right, n) for end, (right, n) in counts.items()}


def place_words(
    pipeline: Path,
    corpus: Path,
    out: Path,
    languages: list[str],
    sources: list[str],
    *,
    before: Path | None = None,
    n_words: int = 500,
    seed: int = 0,
) -> None:
    """Place entity words of two languages by t-SNE: by their vectors, and as the tagger reads them.

    out: JSON file, `{results}/figures/words-{lang}.json` for the report.
    before: Merged pipeline with the vectors before they were mapped.
    n_words: Entity words a language.
    """
    nlp = spacy.load(pipeline)
    docs = {lang: read_language(corpus, lang, sources, nlp, limit=4 * n_words) for lang in languages}
    encoder = nlp.get_pipe(nlp.pipe_names[-1]).model.get_ref("tok2vec")
    spaces: dict[str, Read] = {"mapped": look_up_in(read_table(pipeline)), "as read": encoder.predict}
    if before is not None:
        spaces = {"not mapped": look_up_in(read_table(before)), **spaces}
    placed = {name: _place_in(read, docs, n_words, seed) for name, read in spaces.items()}
    write_json(out, placed)
    msg.good(f"{out}: {', '.join(f'{name} {len(points)} words' for name, points in placed.items())}")


def _place_in(read: Read, docs: dict[str, list[Doc]], n_words: int, seed: int) -> list[dict[str, Any]]:
    rows = [
        (lang, token.ent_type_, token.text, vectors[token.i])
        for lang, in_language in docs.items()
        for token, vectors in islice(entity_words(in_language, read), n_words)
    ]
    places = place([row[3] for row in rows], seed)
    return [
        {"language": lang, "label": label, "word": word, "x": float(x), "y": float(y)}
        for (lang, label, word, _), (x, y) in zip(rows, places, strict=True)
    ]


def read_language(corpus: Path, language: str, sources: list[str], nlp: Language, limit: int) -> list[Doc]:
    """Read the first test sentences of one language."""
    paths = find_files(corpus, "test", [language], sources)[language]
    return list(islice(read_sentences(paths, nlp.vocab), limit or None))


def look_up_in(table: VectorTable) -> Read:
    """A reader of documents by the vectors of a table; words without one are zeros."""
    embed = Lookup(table)
    by_language = any(SEPARATOR in word for word in table.words[:1])

    def key(token: Token) -> str:
        word = normalise(token.text)
        return key_of(word, token.doc._.language) if by_language else word

    return lambda docs: [embed([key(token) for token in doc]) for doc in docs]


def entity_words(docs: list[Doc], read: Read) -> Iterator[tuple[Token, NDArray[numpy.float32]]]:
    """Yield the words of entities that have a vector, each with its document's vectors."""
    for doc, vectors in zip(docs, read(docs), strict=True):
        yield from ((token, vectors) for token in doc if token.ent_type_ and vectors[token.i].any())


def place(vectors: list[NDArray[numpy.float32]], seed: int) -> NDArray[numpy.float32]:
    """Place vectors in the plane so that neighbours stay neighbours. Shape: (n, 2)."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    model = TSNE(init="pca", metric="cosine", perplexity=perplexity, random_state=seed)
    places: NDArray[numpy.float32] = model.fit_transform(numpy.stack(vectors))
    return places
