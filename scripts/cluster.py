"""Find clusters of languages by the vectors of their sentences."""

import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy
import spacy
import typer
from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm
from wasabi import msg

from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.files import write_json
from spacy_xner.router.clustering import choose_k, cluster_sentences, make_grouping, vote
from spacy_xner.router.grouping import Grouping
from spacy_xner.transformer.model import build_sentence_encoder

from common import split_names


class Vectors(str, Enum):
    """What a sentence is clustered by."""

    identifier = "identifier"
    base_first = "base-first"
    base_max = "base-max"


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    identifier: Annotated[Path, typer.Argument(help="Pipeline with a trained language_identifier.")],
    out: Annotated[Path, typer.Argument(help="Grouping file to write.")],
    k: Annotated[int, typer.Option(help="Clusters; 0 chooses the most stable number.")] = 4,
    candidates: Annotated[str, typer.Option(help="Numbers of clusters to choose from.")] = "2,3,4,5,6,7,8",
    vectors: Annotated[
        Vectors, typer.Option(help="The identifier's, or the untrained encoder's first token or maximum.")
    ] = Vectors.identifier,
    encoder: Annotated[str, typer.Option(help="Checkpoint of the base vectors.")] = "multilingual-e5-small",
    languages: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
    source: Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")] = "",
    split: Annotated[str, typer.Option(help="Which sentences.")] = "train",
    limit: Annotated[int, typer.Option(help="First n sentences a language; 0 takes all.")] = 1000,
    figure: Annotated[
        Path | None, typer.Option(help="JSON file for a t-SNE of sentences before and after fine-tuning.")
    ] = None,
    n_figure: Annotated[int, typer.Option(help="Sentences a language in the figure.")] = 60,
    seed: Annotated[int, typer.Option(help="Of samples.")] = 0,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Cluster sentences bottom-up and let the sentences of each language vote."""
    setup_gpu(gpu)
    nlp = spacy.load(identifier)
    reader = create_multilingual_corpus(
        corpus,
        split=split,
        languages=split_names(languages),
        sources=split_names(source),
        limit=limit,
    )
    docs = [example.reference for example in reader(nlp) if example.reference.text.strip()]
    own = [doc._.language for doc in docs]
    matrix = embed(nlp, docs, vectors, encoder)
    stabilities: dict[int, float] = {}
    if k == 0:
        k, stabilities = choose_k(matrix, own, [int(c) for c in candidates.split(",")], seed=seed)
        msg.table([(c, f"{s:.3f}") for c, s in stabilities.items()], header=("k", "stability"), divider=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = cluster_sentences(matrix, k, seed=seed)
        votes = vote(labels, own, k)
        grouping = make_grouping(votes, k)
    for warning in caught:
        msg.warn(str(warning.message))
    about = {
        **grouping.about,
        "vectors": vectors.value,
        "sentences": len(docs),
        "stability": stabilities,
        "source": "found by scripts/cluster.py",
    }
    grouping = Grouping(out.stem.replace("-", "_"), grouping.clusters, about)
    write_json(out, grouping.to_json())
    rows = [
        (name, ", ".join(f"{lang} {100 * votes[lang].purity:.0f} %" for lang in members))
        for name, members in grouping.clusters.items()
    ]
    msg.table(rows, header=("cluster", "languages and their purity"), divider=True)
    if grouping.about["ties"]:
        msg.warn(f"Ties, decided for the first cluster: {', '.join(grouping.about['ties'])}")
    msg.good(f"Wrote {out}")
    if figure is not None:
        write_json(figure, project(nlp, docs, encoder, n_figure, seed))
        msg.good(f"Wrote {figure}")


def embed(nlp: Language, docs: list[Doc], vectors: Vectors, encoder: str) -> numpy.ndarray:
    """Compute one vector a sentence. Shape: (n_docs, width)."""
    if vectors is Vectors.identifier:
        pipe = nlp.get_pipe("language_identifier")
        compute = pipe.embed
    else:
        pooling = "first" if vectors is Vectors.base_first else "max"
        model = build_sentence_encoder(encoder, pooling=pooling, mixed_precision=True)
        model.initialize()
        compute = model.predict
    batches = [docs[i : i + 256] for i in range(0, len(docs), 256)]
    return numpy.concatenate([compute(batch) for batch in tqdm(batches, desc=vectors.value, leave=False)])


def project(nlp: Language, docs: list[Doc], encoder: str, n: int, seed: int) -> dict[str, Any]:
    """Project sentences to two dimensions, before and after fine-tuning, as in the paper's Figure 1."""
    from sklearn.manifold import TSNE

    by_language: dict[str, list[Doc]] = {}
    for doc in docs:
        own = by_language.setdefault(doc._.language, [])
        if len(own) < n:
            own.append(doc)
    chosen = [doc for group in by_language.values() for doc in group]
    points = {}
    for vectors in (Vectors.base_max, Vectors.identifier):
        matrix = embed(nlp, chosen, vectors, encoder)
        perplexity = min(30.0, (len(chosen) - 1) / 3)
        places = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(matrix)
        points[vectors.value] = places.round(2).tolist()
    return {"languages": [doc._.language for doc in chosen], "points": points}


if __name__ == "__main__":
    typer.run(main)
