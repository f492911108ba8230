"""The untrained aligner beside SimAlign `inter` on all sentences; settings are chosen on another corpus.

Needs `pip install simalign`. The gold entities of the English side are projected. Every system gives the best
place of every entity; the peer's word links become a span from the first to the last linked token. For the
package's aligner the file also says what the projector's filters would drop, and the F1 of what they leave.

python benchmarks/alignment.py $XNER_DATA/uner_pud $XNER_DATA/europarl_ner
    --out benchmarks/results/alignment.json
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import typer
from projection import Gold, read_pairs, spans_of
from spacy.scorer import PRFScore
from spacy.tokens import Doc
from wasabi import msg

from spacy_xner.corpus.docs import make_doc
from spacy_xner.files import read_json, write_json
from spacy_xner.machine import describe_machine
from spacy_xner.tags import TokenSpan
from spacy_xner.transformer.checkpoint import load_checkpoint

Sets = dict[str, list[Gold]]
Spans = list[list[TokenSpan]]


class Found(NamedTuple):
    """Places of all entities of a set, those that the filters leave, and how many entities met which fate."""

    best: Spans
    filtered: Spans
    fates: Counter[str]


def main(
    chosen_on: Annotated[Path, typer.Argument(help="Folder {lang}/test.* on which settings are chosen.")],
    tested_on: Annotated[Path, typer.Argument(help="Folder {lang}/test.* that is scored once.")],
    out: Annotated[Path, typer.Option(help="Result file; finished parts of it are kept.")],
    source: Annotated[str, typer.Option(help="Source language.")] = "en",
    choose_languages: Annotated[str, typer.Option(help="Languages of the first corpus.")] = "de,ru",
    languages: Annotated[str, typer.Option(help="Languages of the second corpus.")] = "de,es,it",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    choose_limit: Annotated[int, typer.Option(help="Pairs a language to choose on; 0 takes all.")] = 0,
    limit: Annotated[int, typer.Option(help="Pairs a language to test on; 0 takes all.")] = 0,
    layers: Annotated[str, typer.Option(help="Layers to choose from.")] = "5,6,7,8",
    temperatures: Annotated[str, typer.Option(help="Temperatures to choose from.")] = "0.02,0.05,0.1",
) -> None:
    """Choose layer and temperature on one corpus, and score every system once on the other."""
    choose = read_sets(chosen_on, source, choose_languages, choose_limit)
    test = read_sets(tested_on, source, languages, limit)
    done: dict[str, Any] = read_json(out)["parts"] if out.exists() else {}

    def once(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Measure a part unless the file has it, and write the file."""
        if name not in done:
            done[name] = measure()
            about = {"encoder": encoder, "chosen_on": sizes(choose), "tested_on": sizes(test)}
            machine = describe_machine()._asdict()
            write_json(out, {"benchmark": "alignment", **about, "machine": machine, "parts": done})
        msg.info(f"{name}: {done[name]['mean']:.1f}")
        return done[name]

    with tempfile.TemporaryDirectory() as work:
        model, tokenizer = load_checkpoint(encoder)
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)
        settings = list(product(map(int, layers.split(",")), map(float, temperatures.split(","))))
        chosen: dict[tuple[int, float], float] = {}
        for layer, temperature in settings:
            part = once(
                f"choose span, layer {layer}, temperature {temperature:g}",
                lambda n=layer, t=temperature: measure_own(work, n, t, choose),
            )
            chosen[layer, temperature] = part["mean"]
        layer, temperature = max(chosen, key=lambda key: chosen[key])
        once(
            f"test span, layer {layer}, temperature {temperature:g}",
            lambda: measure_own(work, layer, temperature, test),
        )
        peers = {
            int(n): once(f"choose SimAlign inter, layer {n}", lambda n=n: measure_peer(work, int(n), choose))
            for n in layers.split(",")
        }
        peer_layer = max(peers, key=lambda n: peers[n]["mean"])
        once(f"test SimAlign inter, layer {peer_layer}", lambda: measure_peer(work, peer_layer, test))


def read_sets(folder: Path, source: str, languages: str, limit: int) -> Sets:
    """Read the parallel files of a corpus by language."""
    return {lang: read_pairs(folder, source, lang)[: limit or None] for lang in languages.split(",")}


def sizes(sets: Sets) -> dict[str, int]:
    """Count the pairs of every language."""
    return {lang: len(pairs) for lang, pairs in sets.items()}


def measure(sets: Sets, find: Callable[[list[Gold]], Found]) -> dict[str, Any]:
    """Score the places that a system finds: precision, recall and F1 in percent by language."""
    scores: dict[str, dict[str, float]] = {}
    fates: dict[str, dict[str, int]] = {}
    start = time.perf_counter()
    for lang, pairs in sets.items():
        places = find(pairs)
        scores[lang] = {
            **rates(pairs, places.best),
            "f_filtered": rates(pairs, places.filtered)["f"],
        }
        fates[lang] = dict(places.fates)
    mean = sum(row["f"] for row in scores.values()) / len(scores)
    n_pairs = sum(map(len, sets.values()))
    speed = round(n_pairs / (time.perf_counter() - start), 1)
    return {"mean": round(mean, 2), "pairs_per_second": speed, "scores": scores, "fates": fates}


def rates(pairs: list[Gold], predicted: Spans) -> dict[str, float]:
    """Precision, recall and F1 in percent over all sentences."""
    total = PRFScore()
    for pair, spans in zip(pairs, predicted, strict=True):
        total.score_set(set(spans), set(pair.target.spans))
    named = {"p": total.precision, "r": total.recall, "f": total.fscore}
    return {name: round(100 * value, 2) for name, value in named.items()}


def measure_own(checkpoint: str, layer: int, temperature: float, sets: Sets) -> dict[str, Any]:
    """Measure the package's aligner without any training."""
    nlp = spacy.blank("xx")
    encoder = {
        "@architectures": "spacy_xner.TransformerEncoder.v1",
        "name": checkpoint, "n_layers": layer, "n_frozen_layers": layer, "pooling": "mean",
    }  # fmt: skip
    model = {"@architectures": "spacy_xner.SimilarityAligner.v1", "method": "span", "tok2vec": encoder}
    nlp.add_pipe("entity_projector", config={"model": {**model, "temperature": temperature}})
    nlp.initialize()
    return measure(sets, lambda pairs: project(nlp, pairs))


def project(nlp: spacy.Language, pairs: list[Gold]) -> Found:
    """Project with a pipeline: best places, what the filters leave, and fates."""
    places = Found([], [], Counter())
    for pair, doc in zip(pairs, nlp.pipe(read_docs(nlp, pairs)), strict=True):
        places.best.append(best_places(doc._.projection, pair))
        lost = any(entity["fate"] not in ("projected", "suppressed") for entity in doc._.projection)
        places.filtered.append([TokenSpan(ent.start, ent.end, ent.label_) for ent in doc.ents])
        places.fates.update(entity["fate"] for entity in doc._.projection)
        places.fates["sentences dropped"] += lost
    return places


def best_places(projection: list[dict[str, Any]], pair: Gold) -> list[TokenSpan]:
    """The best place of every entity, whatever the filters say of it."""
    return [
        TokenSpan(*entity["places"][0][:2], span.label)
        for entity, span in zip(projection, pair.source.spans, strict=True)
        if entity["places"]
    ]


def read_docs(nlp: spacy.Language, pairs: list[Gold]) -> Iterator[Doc]:
    """Documents without entities beside their sources."""
    for pair in pairs:
        doc = make_doc(nlp.vocab, pair.target, "", labelled=False)
        doc._.source = make_doc(nlp.vocab, pair.source, "")
        yield doc


def measure_peer(checkpoint: str, layer: int, sets: Sets) -> dict[str, Any]:
    """Measure SimAlign's mutual argmax on the hidden states of a layer. It has no filters."""
    from simalign import SentenceAligner

    aligner = SentenceAligner(model=checkpoint, token_type="bpe", matching_methods="a", layer=layer)

    def find(pairs: list[Gold]) -> Found:
        spans = [
            spans_of(pair, aligner.get_word_aligns(pair.source.tokens, pair.target.tokens)["inter"])
            for pair in pairs
        ]
        return Found(spans, spans, Counter())

    return measure(sets, find)


if __name__ == "__main__":
    typer.run(main)
