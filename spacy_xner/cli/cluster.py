"""`spacy xner cluster`: group languages by the vectors of their sentences."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import print_warnings, verb
from spacy_xner.cli.options import Gpu, Languages, Seed, split_names, split_numbers


class Vectors(str, Enum):
    """Vectors that sentences are clustered by."""

    identifier = "identifier"
    base_first = "base-first"
    base_max = "base-max"


@verb("cluster")
def cluster_cli(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    identifier: Annotated[Path, typer.Argument(help="Pipeline with a trained language_identifier.")],
    out: Annotated[Path, typer.Argument(help="Grouping file to write.")],
    k: Annotated[int, typer.Option(min=0, help="Clusters; 0 chooses the most stable number.")] = 4,
    candidates: Annotated[str, typer.Option(help="Numbers of clusters to choose from.")] = "2,3,4,5,6,7,8",
    show: Annotated[str, typer.Option(help="Numbers of clusters to print beside, such as 3,4,5,6.")] = "",
    vectors: Annotated[
        Vectors, typer.Option(help="The identifier's, or the untrained encoder's first token or maximum.")
    ] = Vectors.identifier,
    encoder: Annotated[str, typer.Option(help="Checkpoint of the base vectors.")] = "multilingual-e5-small",
    languages: Languages = "",
    source: Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")] = "",
    split: Annotated[str, typer.Option(help="Split of the corpus whose sentences are clustered.")] = "train",
    limit: Annotated[int, typer.Option(min=0, help="First n sentences a language; 0 takes all.")] = 1000,
    figure: Annotated[
        Path | None, typer.Option(help="JSON file for a t-SNE of sentences before and after fine-tuning.")
    ] = None,
    n_figure: Annotated[int, typer.Option(min=1, help="Sentences a language in the figure.")] = 60,
    seed: Seed = 0,
    gpu: Gpu = -1,
) -> None:
    """Cluster sentences bottom-up and let the sentences of each language vote for its cluster.

    EXAMPLE: python -m spacy xner cluster corpus training/identifier/model-best found.json --k 0
    """
    from spacy.cli._util import setup_gpu

    from spacy_xner.corpus.reader import create_multilingual_corpus
    from spacy_xner.files import write_json
    from spacy_xner.loading import load_pipeline
    from spacy_xner.router.clustering import compare_numbers, find_grouping
    from spacy_xner.router.grouping import grouping_name
    from spacy_xner.router.sentences import embed_sentences, place_sentences, select_sentences

    name, numbers = grouping_name(out), split_numbers(candidates)
    setup_gpu(gpu)
    nlp = load_pipeline(identifier, "language_identifier")
    reader = create_multilingual_corpus(
        corpus, split=split, languages=split_names(languages), sources=split_names(source), limit=limit
    )
    docs = select_sentences(reader(nlp))
    matrix = embed_sentences(docs, vectors.value, nlp, encoder)
    with print_warnings():
        discovery = find_grouping(
            matrix, [doc._.language for doc in docs], k, name=name, candidates=numbers, seed=seed
        )
    if show:
        others = compare_numbers(matrix, [doc._.language for doc in docs], split_numbers(show), seed=seed)
        table = [(n, "; ".join(map(" ".join, groups.values()))) for n, groups in others.items()]
        msg.table(table, header=("k", "languages of the clusters"), divider=True)
        discovery.grouping.about["others"] = others
    discovery.grouping.about.update(vectors=vectors.value, source="found by spacy xner cluster")
    write_json(out, discovery.grouping.to_json())
    if discovery.stabilities:
        rows = [(c, f"{value:.3f}") for c, value in discovery.stabilities.items()]
        msg.table(rows, header=("k", "stability"), divider=True)
    purities = [
        (cluster, ", ".join(f"{lang} {100 * discovery.votes[lang].purity:.0f} %" for lang in members))
        for cluster, members in discovery.grouping.clusters.items()
    ]
    msg.table(purities, header=("cluster", "languages and their purity"), divider=True)
    if discovery.grouping.about["ties"]:
        msg.warn(f"Ties, decided for the first cluster: {', '.join(discovery.grouping.about['ties'])}")
    msg.good(f"Wrote {out}")
    if figure is not None:
        write_json(figure, place_sentences(docs, nlp, encoder, n_docs=n_figure, seed=seed))
        msg.good(f"Wrote {figure}")
