"""Span F1 and pairs a second of entity projection beside SimAlign and awesome-align, on one encoder.

Needs `pip install simalign awesome-align`. The gold entities of the English side are projected; the peers'
word links become a span from the first to the last linked token, as those who use them do.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import spacy
import torch
import typer
from spacy.scorer import PRFScore
from spacy.tokens import Doc
from spacy.util import minibatch
from wasabi import msg

from spacy_xner.corpus.conll import Sentence, read_tagged
from spacy_xner.corpus.docs import make_doc
from spacy_xner.machine import describe_machine
from spacy_xner.tags import TokenSpan
from spacy_xner.transformer.checkpoint import load_checkpoint

Links = list[tuple[int, int]]
# awesome-align was written for multilingual BERT and tells special tokens apart by that model's ids.
BERT_CLS, BERT_OTHER = 101, 1000
BATCH_SIZE = 32


class Gold(NamedTuple):
    """A sentence with entities and its translation with its own."""

    source: Sentence
    target: Sentence


def main(
    corpora: Annotated[
        list[Path], typer.Argument(help="Folders {lang}/test.* of parallel sentences with entities.")
    ],
    languages: Annotated[str, typer.Option(help="Target languages, comma-separated.")] = "de,es,it,ru",
    source: Annotated[str, typer.Option(help="Source language.")] = "en",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    limit: Annotated[int, typer.Option(help="Sentences a language; 0 takes all.")] = 0,
    layers: Annotated[str, typer.Option(help="Layers to compare; the peers' own default is 8.")] = "6,8",
    aligner: Annotated[
        list[Path] | None, typer.Option(help="Trained pipelines with an entity_projector to measure too.")
    ] = None,
    only_trained: Annotated[bool, typer.Option(help="Measure nothing else.")] = False,
) -> None:
    """Measure every method on every corpus and language; sentences with `sent_id` are joined by it."""
    msg.info(str(describe_machine()))
    sets = {
        f"{folder.name} {lang}": read_pairs(folder, source, lang)[: limit or None]
        for folder in corpora
        for lang in languages.split(",")
        if (folder / lang).is_dir()
    }
    with tempfile.TemporaryDirectory() as work:
        model, tokenizer = load_checkpoint(encoder)
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)
        systems: dict[str, Callable[[list[Gold]], list[list[TokenSpan]]]] = {}
        for layer in [] if only_trained else map(int, layers.split(",")):
            systems |= peers(work, layer)
            for method in ("mutual", "itermax", "matching", "span"):
                systems[f"xner {method}, layer {layer}"] = own_system(work, method, layer)
        if not only_trained:
            systems["xner span, layer 6, back-projection"] = own_system(work, "span", 6, back_projection=True)
        for path in aligner or ():
            folder = path.parent if path.name.startswith("model-") else path
            systems[f"xner trained, {folder.name}"] = trained_system(path)
        rows = []
        for name, project in systems.items():
            scores, seconds, n_pairs = [], 0.0, 0
            for pairs in sets.values():
                start = time.perf_counter()
                projected = project(pairs)
                seconds += time.perf_counter() - start
                n_pairs += len(pairs)
                scores.append(100 * score(pairs, projected))
            mean = sum(scores) / len(scores)
            rows.append((name, *(f"{f1:.1f}" for f1 in scores), f"{mean:.1f}", f"{n_pairs / seconds:,.0f}"))
            msg.info(" ".join(rows[-1]))
    msg.table(rows, header=("F1", *sets, "mean", "pairs/s"), divider=True)


def read_pairs(folder: Path, source: str, target: str) -> list[Gold]:
    """Read two parallel files. Lines up sentences by their ids where they have any."""
    paths = [next((folder / lang).glob("test.*")) for lang in (source, target)]
    sentences = [list(read_tagged(path, lang)) for path, lang in zip(paths, (source, target), strict=True)]
    names = [
        [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# sent_id")]
        for path in paths
    ]
    if not names[0]:
        return [Gold(*both) for both in zip(*sentences, strict=True)]
    place = {name: i for i, name in enumerate(names[1])}
    return [
        Gold(sentence, sentences[1][place[name]])
        for name, sentence in zip(names[0], sentences[0], strict=True)
        if name in place
    ]


def score(pairs: list[Gold], projected: list[list[TokenSpan]]) -> float:
    """Span F1 over all sentences."""
    total = PRFScore()
    for pair, spans in zip(pairs, projected, strict=True):
        total.score_set(set(spans), set(pair.target.spans))
    return float(total.fscore)


def own_system(
    checkpoint: str, method: str, layer: int, **settings: bool
) -> Callable[[list[Gold]], list[list[TokenSpan]]]:
    """The component of this package, single entities judged each by itself."""
    nlp = spacy.blank("xx")
    encoder = {
        "@architectures": "spacy_xner.TransformerEncoder.v1",
        "name": checkpoint, "n_layers": layer, "n_frozen_layers": layer, "pooling": "mean",
    }  # fmt: skip
    config = {
        "model": {"method": method, "max_gap": 1000, "tok2vec": encoder},
        "keep_incomplete": True,
        **settings,
    }
    nlp.add_pipe("entity_projector", config=config)
    nlp.initialize()
    return run_pipeline(nlp)


def trained_system(path: Path) -> Callable[[list[Gold]], list[list[TokenSpan]]]:
    """A pipeline with a trained aligner, single entities judged each by itself."""
    nlp = spacy.load(path)
    nlp.get_pipe("entity_projector").keep_incomplete = True
    return run_pipeline(nlp)


def run_pipeline(nlp: spacy.Language) -> Callable[[list[Gold]], list[list[TokenSpan]]]:
    """Project with a pipeline."""

    def prepare(pair: Gold) -> Doc:
        doc = make_doc(nlp.vocab, pair.target, "", labelled=False)
        doc._.source = make_doc(nlp.vocab, pair.source, "")
        return doc

    def project(pairs: list[Gold]) -> list[list[TokenSpan]]:
        docs = nlp.pipe(map(prepare, pairs))
        return [[TokenSpan(ent.start, ent.end, ent.label_) for ent in doc.ents] for doc in docs]

    return project


def peers(checkpoint: str, layer: int) -> dict[str, Callable[[list[Gold]], list[list[TokenSpan]]]]:
    """SimAlign's three methods and awesome-align's extraction, each on the hidden states of a layer."""
    from awesome_align.modeling import BertGuideHead
    from simalign import SentenceAligner
    from transformers import AutoModel, AutoTokenizer

    aligner = SentenceAligner(model=checkpoint, token_type="bpe", matching_methods="mai", layer=layer)

    def by_simalign(method: str) -> Callable[[list[Gold]], list[list[TokenSpan]]]:
        def project(pairs: list[Gold]) -> list[list[TokenSpan]]:
            # All three at once would share their time.
            aligner.matching_methods = [method]
            return [
                spans_of(pair, aligner.get_word_aligns(pair.source.tokens, pair.target.tokens)[method])
                for pair in pairs
            ]

        return project

    head = BertGuideHead(None)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    encoder = AutoModel.from_pretrained(checkpoint, num_hidden_layers=layer, add_pooling_layer=False).eval()

    def read(sides: list[Sentence]) -> tuple[torch.Tensor, torch.Tensor, list[list[int | None]]]:
        """RETURNS: Hidden states, ids as awesome-align's head knows them, and the word of every piece."""
        pieces = tokenizer(
            [side.tokens for side in sides], is_split_into_words=True, padding=True, return_tensors="pt"
        )
        words = [pieces.word_ids(i) for i in range(len(sides))]
        ids = torch.tensor([[BERT_CLS if word is None else BERT_OTHER for word in row] for row in words])
        return encoder(**pieces).last_hidden_state, ids * pieces["attention_mask"], words

    def by_awesome(pairs: list[Gold]) -> list[list[TokenSpan]]:
        spans = []
        # As the package does: batches, and no layer above the one that is compared.
        for batch in minibatch(pairs, BATCH_SIZE):
            with torch.inference_mode():
                source, target = (read([pair[side] for pair in batch]) for side in (0, 1))
                links = head(source[0], target[0], source[1], target[1])[:, 0]
            for pair, linked, left, right in zip(batch, links, source[2], target[2], strict=True):
                spans.append(spans_of(pair, [(left[i], right[j]) for i, j in linked.nonzero().tolist()]))
        return spans

    return {
        **{f"SimAlign {m}, layer {layer}": by_simalign(m) for m in ("inter", "itermax", "mwmf")},
        f"awesome-align softmax, layer {layer}": by_awesome,
    }


def spans_of(pair: Gold, links: Links) -> list[TokenSpan]:
    """From the first to the last token that an entity's tokens are linked to."""
    spans = []
    for span in pair.source.spans:
        linked = [j for i, j in links if span.start <= i < span.end]
        if linked:
            spans.append(TokenSpan(min(linked), max(linked) + 1, span.label))
    return spans


if __name__ == "__main__":
    typer.run(main)
