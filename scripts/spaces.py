"""Look into a tagger: right tags by sentence length, and entity words of two languages in one picture."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy
import spacy
import typer
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Token
from wasabi import msg

from spacy_xner.corpus.docs import without_annotation
from spacy_xner.corpus.names import find_files
from spacy_xner.files import write_json
from spacy_xner.vectors.table import Lookup, VectorTable, read_table
from spacy_xner.vectors.words import normalise

from common import split_names
from runs import read_sentences
from tables import make_panels

app = typer.Typer(add_completion=False, help=__doc__)
# Upper ends of the bins of sentence lengths, in tokens.
ENDS = (5, 10, 15, 20, 30, 50, 100, 250)

Corpus = Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")]
Source = Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")]
# Gives the vectors of every token of documents.
Read = Callable[[list[Doc]], list[NDArray[numpy.float32]]]


@app.command()
def lengths(
    pipelines: Annotated[Path, typer.Argument(help="Folder of pipelines, one a language: what --keep kept.")],
    corpus: Corpus,
    out: Annotated[Path, typer.Option(help="JSON file for the report: {runs}/figures/lengths.json.")],
    source: Source = "",
    split: Annotated[str, typer.Option(help="Part that is tagged.")] = "test",
    limit: Annotated[int, typer.Option(help="Sentences a language; 0 takes all.")] = 0,
) -> None:
    """Count rightly tagged words by sentence length (Bari et al. 2020, Figure 2)."""
    found = {}
    for folder in sorted(path for path in pipelines.iterdir() if (path / "config.cfg").exists()):
        nlp = spacy.load(folder)
        docs = read_language(corpus, split, folder.name, source, nlp, limit)
        tagged = nlp.pipe(map(without_annotation, docs))
        found[folder.name] = count_by_length(zip(tagged, docs, strict=True))
    rows = [
        (lang, *(f"{100 * right / n:.1f}" if n else "–" for right, n in counts.values()))
        for lang, counts in found.items()
    ]
    msg.table(rows, header=("tokens", *(f"to {end}" for end in ENDS)), divider=True)
    write_json(out, found)


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


@app.command()
def words(
    pipeline: Annotated[Path, typer.Argument(help="Trained pipeline with mapped vectors.")],
    corpus: Corpus,
    languages: Annotated[str, typer.Option(help="The two languages.")],
    out: Annotated[Path, typer.Option(help="JSON file for the report: {runs}/figures/words-{lang}.json.")],
    before: Annotated[
        Path | None, typer.Option(help="Merged pipeline with the vectors before they were mapped.")
    ] = None,
    source: Source = "",
    n_words: Annotated[int, typer.Option(help="Entity words a language.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the picture.")] = 0,
) -> None:
    """Place entity words of two languages by vectors before and after mapping, and as the tagger reads them.

    t-SNE to two dimensions (Bari et al. 2020, Figure 3).
    """
    nlp = spacy.load(pipeline)
    docs = {
        lang: read_language(corpus, "test", lang, source, nlp, limit=4 * n_words)
        for lang in split_names(languages)
    }
    encoder = nlp.get_pipe(nlp.pipe_names[-1]).model.get_ref("tok2vec")
    spaces: dict[str, Read] = {
        "mapped": look_up_in(read_table(pipeline)),
        "as read": encoder.predict,
    }
    if before is not None:
        spaces = {"not mapped": look_up_in(read_table(before)), **spaces}
    found = {}
    for name, read in spaces.items():
        rows = [
            (lang, token.ent_type_, token.text, vectors[token.i])
            for lang, own in docs.items()
            for token, vectors in islice(entity_words(own, read), n_words)
        ]
        places = place([row[3] for row in rows], seed)
        found[name] = [
            {"language": lang, "label": label, "word": word, "x": float(x), "y": float(y)}
            for (lang, label, word, _), (x, y) in zip(rows, places, strict=True)
        ]
    write_json(out, found)
    msg.good(f"{out}: {', '.join(f'{name} {len(points)} words' for name, points in found.items())}")


def read_language(
    corpus: Path, split: str, language: str, source: str, nlp: Language, limit: int
) -> list[Doc]:
    """Read the first sentences of one language."""
    paths = find_files(corpus, split, [language], split_names(source))[language]
    return list(islice(read_sentences(paths, nlp.vocab), limit or None))


def look_up_in(table: VectorTable) -> Read:
    """A reader of documents by the vectors of a table; words without one are zeros."""
    embed = Lookup(table)
    return lambda docs: [embed([normalise(token.text) for token in doc]) for doc in docs]


def entity_words(docs: list[Doc], read: Read) -> Iterator[tuple[Token, NDArray[numpy.float32]]]:
    """Yield the words of entities that have a vector, each with its document's vectors."""
    for doc, vectors in zip(docs, read(docs), strict=True):
        yield from ((token, vectors) for token in doc if token.ent_type_ and vectors[token.i].any())


def place(vectors: list[NDArray[numpy.float32]], seed: int) -> NDArray[numpy.float32]:
    """Place vectors in the plane so that neighbours stay neighbours. Shape: (n, 2)."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    model = TSNE(init="pca", metric="cosine", perplexity=perplexity, random_state=seed)
    found: NDArray[numpy.float32] = model.fit_transform(numpy.stack(vectors))
    return found


def draw_lengths(counts: dict[str, dict[str, tuple[int, int]]]) -> Any:
    """Draw the share of rightly tagged words by sentence length, a line a language."""
    figure, (axis,) = make_panels(["rightly tagged entity words"], columns=1, width=6, height=3)
    for language, bins in counts.items():
        known = [(int(end), 100 * right / n) for end, (right, n) in bins.items() if n]
        axis.plot(*zip(*known, strict=True), marker="o", markersize=3, label=language)
    axis.set(xlabel="tokens in the sentence, at most", ylabel="%")
    axis.legend()
    return figure


def draw_words(spaces: dict[str, list[dict[str, Any]]]) -> Any:
    """Draw the words of both languages, a panel a space: colour is the label, shape the language."""
    figure, panels = make_panels(list(spaces), columns=3, width=13, height=4)
    labels = sorted({point["label"] for points in spaces.values() for point in points})
    for axis, points in zip(panels, spaces.values(), strict=True):
        groups = defaultdict(list)
        for point in points:
            groups[point["language"], point["label"]].append((point["x"], point["y"]))
        languages = sorted({language for language, _ in groups})
        for (language, label), places in sorted(groups.items()):
            axis.scatter(
                *zip(*places, strict=True),
                s=8,
                alpha=0.6,
                color=f"C{labels.index(label)}",
                marker="ox^s"[languages.index(language) % 4],
                label=f"{language} {label}",
            )
        axis.set(xticks=[], yticks=[])
    panels[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


if __name__ == "__main__":
    app()
