"""`spacy xner translate`: labelled sentences in another language's words, or in another order."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import group, verb

translate = group(
    "translate", "Labelled sentences in another language's words, or in another order, for transfer."
)

Corpus = Annotated[Path, typer.Argument(exists=True, help="File {lang}-{source}-train.spacy with labels.")]


@verb("words", translate)
def words_cli(
    corpus: Corpus,
    dictionary: Annotated[
        Path, typer.Argument(exists=True, help="MUSE, TSV, StarDict (.ifo) or FreeDict (.tei).")
    ],
    vectors: Annotated[
        Path, typer.Argument(exists=True, help="Table or pipeline with both languages in one space.")
    ],
    language: Annotated[str, typer.Option(help="Language of the translations.")],
    reverse: Annotated[bool, typer.Option(help="The dictionary goes into the corpus' language.")] = False,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Weight of the word against its context.")] = 0.5,
    window: Annotated[int, typer.Option(min=0, help="Context words a side; 0 takes the sentence.")] = 0,
) -> None:
    """Translate a corpus word by word into `{lang}-{source}.{language}-{split}.spacy` beside it.

    The file keeps the corpus' language in its name, because the labels are that language's; its documents
    are in the other language (Huang et al. 2019, equation 1).
    """
    from spacy_xner.vectors.table import read_table
    from spacy_xner.vectors.translate import WordChoice, translate_corpus

    made = translate_corpus(
        corpus, dictionary, read_table(vectors), language, reverse=reverse, choice=WordChoice(alpha, window)
    )
    share = 100 * made.coverage.n_translated / max(1, made.coverage.n_tokens)
    msg.good(f"{made.path}: {made.n_sentences:,} sentences, {share:.0f} % of the words translated")


@verb("shuffle", translate)
def shuffle_cli(
    corpus: Corpus,
    seed: Annotated[int, typer.Option(help="Random seed of the new order.")] = 0,
) -> None:
    """Shuffle the words of every sentence, entities kept whole, into `{lang}-{source}.shuffled-...`.

    The F1 that a model loses on such text is due to the order of words (Huang et al. 2019, Table 3).
    """
    from spacy_xner.vectors.translate import shuffle_corpus

    made = shuffle_corpus(corpus, seed)
    msg.good(f"{made.path}: {made.n_sentences:,} sentences")
