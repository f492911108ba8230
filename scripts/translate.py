"""Labelled sentences in another language's words, or in another order: training sets for transfer."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import spacy
import typer
from tqdm import tqdm
from wasabi import msg

from spacy_xner.corpus.conll import Sentence
from spacy_xner.corpus.docs import make_doc, read_docs, sentence_of, write_docs
from spacy_xner.errors import Errors, XnerError
from spacy_xner.tags import TokenSpan
from spacy_xner.vectors.dictionary import check_direction, read_dictionary
from spacy_xner.vectors.table import Lookup, read_table
from spacy_xner.vectors.translate import measure_coverage, translate_sentence

app = typer.Typer(add_completion=False, help=__doc__)

Corpus = Annotated[Path, typer.Argument(help="File {lang}-{source}-train.spacy with labels.")]


@app.command()
def words(
    corpus: Corpus,
    dictionary: Annotated[Path, typer.Argument(help="MUSE, TSV, StarDict (.ifo) or FreeDict (.tei).")],
    vectors: Annotated[Path, typer.Argument(help="Table or pipeline with both languages in one space.")],
    language: Annotated[str, typer.Option(help="Language of the translations.")],
    reverse: Annotated[bool, typer.Option(help="The dictionary goes into the corpus' language.")] = False,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Weight of the word against its context.")] = 0.5,
    window: Annotated[int, typer.Option(min=0, help="Context words a side; 0 takes the sentence.")] = 0,
) -> None:
    """Translate a corpus word by word into `{lang}-{source}.{language}-{split}.spacy` beside it.

    The file keeps the corpus' language in its name, because that is whose labels these are; its documents
    are in the other language (Huang et al. 2019, equation 1).
    """
    docs = list(read_docs(corpus).get_docs(spacy.blank("xx").vocab))
    entries = read_dictionary(dictionary, reverse=reverse)
    table = read_table(vectors)
    counts = Counter(token.lower_ for doc in docs for token in doc)
    # The table has the words of both languages and does not say whose they are.
    check_direction(entries, counts, (), dictionary)
    embed = Lookup(table)
    known = [word for texts in entries.values() for text in texts for word in text.split()]
    if not embed(known).any():
        raise XnerError(Errors.XNER615.format(n=len(known), where=dictionary, first=known[0]))
    sentences = [sentence_of(doc) for doc in docs]
    progress = tqdm(sentences, unit=" sentences", disable=None)
    translated = (translate_sentence(s, entries, embed, alpha=alpha, window=window) for s in progress)
    path = _beside(corpus, language)
    _write(translated, path, language)
    found = measure_coverage(sentences, entries)
    share = 100 * found.n_translated / max(1, found.n_tokens)
    msg.good(f"{path}: {len(sentences):,} sentences, {share:.0f} % of the words translated")


@app.command()
def shuffle(
    corpus: Corpus,
    seed: Annotated[int, typer.Option(help="Of the new order.")] = 0,
) -> None:
    """Shuffle the words of every sentence, entities kept whole, into `{lang}-{source}.shuffled-...`.

    What a model loses on such text is what it learns from the order of words (Huang et al. 2019, Table 3).
    """
    rng = random.Random(seed)
    docs = list(read_docs(corpus).get_docs(spacy.blank("xx").vocab))
    path = _beside(corpus, "shuffled")
    _write((shuffle_sentence(sentence_of(doc), rng) for doc in docs), path, docs[0]._.language)
    msg.good(f"{path}: {len(docs):,} sentences")


def shuffle_sentence(sentence: Sentence, rng: random.Random) -> Sentence:
    """Put words and whole entities in another order."""
    inside = {i for span in sentence.spans for i in range(span.start, span.end)}
    pieces = [(span.start, span.end, span.label) for span in sentence.spans]
    pieces += [(i, i + 1, "") for i in range(len(sentence.tokens)) if i not in inside]
    rng.shuffle(pieces)
    order = [i for start, end, _ in pieces for i in range(start, end)]
    spans, position = [], 0
    for start, end, label in pieces:
        if label:
            spans.append(TokenSpan(position, position + end - start, label))
        position += end - start
    return Sentence([sentence.tokens[i] for i in order], [sentence.spaces[i] for i in order], spans)


def _beside(corpus: Path, name: str) -> Path:
    stem, _, split = corpus.stem.rpartition("-")
    return corpus.with_name(f"{stem}.{name}-{split}.spacy")


def _write(sentences: Iterable[Sentence], path: Path, language: str) -> None:
    vocab = spacy.blank("xx").vocab
    docs: Iterator = (make_doc(vocab, sentence, language) for sentence in sentences)
    write_docs(docs, path)


if __name__ == "__main__":
    app()
