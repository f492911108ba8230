"""One pipeline in many threads, as a web server calls it: are the answers those of one thread, and how fast?

All numbers of threads take turns on the same texts within one run, so that other work on the machine slows
them alike. A plain loop is measured twice: with torch's own number of threads for an operation, and with that
of the pool's threads.
"""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import torch
import typer
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files
from spacy_xner.machine import describe_machine

N_THREADS = (1, 2, 4, 8)
# Scores that differ by more are other scores.
TOLERANCE = 1e-6


class Answer(NamedTuple):
    """What a pipeline says of a text.

    entities: Their characters and labels, with language and cluster of the document.
    scores: Probabilities of all entities and languages, and the score of the cluster.
    """

    entities: list[Any]
    scores: list[float]


def main(
    pipeline: Annotated[Path, typer.Argument(help="Folder of a pipeline, a routed one for instance.")],
    texts: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-test.spacy files.")],
    languages: Annotated[str, typer.Option(help="Comma-separated; all that the folder has by default.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Different texts a language.")] = 50,
    calls: Annotated[int, typer.Option(min=1, help="Calls with every number of threads.")] = 5000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that the calls are spread over.")] = 5,
    torch_threads: Annotated[
        int, typer.Option(min=1, help="Threads of one operation of torch in every thread of the pool.")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Call a pipeline from 1, 2, 4 and 8 threads, and compare every answer with that of a plain loop."""
    machine = describe_machine()
    msg.info(str(machine))
    nlp = spacy.load(pipeline)
    samples = read_texts(nlp, texts, [name for name in languages.split(",") if name], limit)
    result = measure(nlp, samples, calls, rounds, torch_threads)
    speeds = result["words_per_second"]
    base = next(iter(speeds.values()))
    rows = [
        (name, f"{speed:,.0f}", f"{speed / base:.2f}x", result["other_answers"].get(name, ""))
        for name, speed in speeds.items()
    ]
    msg.table(rows, header=("threads", "words/s", "", "other answers"), divider=True, aligns=tuple("lrrr"))
    if out is not None:
        out.write_text(
            json.dumps({"pipeline": pipeline.name, "machine": machine._asdict(), **result}, indent=2)
        )
    if any(result["other_answers"].values()):
        msg.fail(f"Threads change answers; largest difference: {result['largest_difference']:.1e}", exits=1)
    msg.good(f"All answers are those of a plain loop; largest difference: {result['largest_difference']:.1e}")


def read_texts(nlp: Language, folder: Path, languages: list[str], limit: int) -> list[str]:
    """Read the first texts of every language, one language after the other in turn."""
    by_language = [
        [doc.text for doc in islice(read_docs(paths[0]).get_docs(nlp.vocab), limit)]
        for paths in find_files(folder, "test", languages).values()
    ]
    return [texts[i] for i in range(max(map(len, by_language))) for texts in by_language if i < len(texts)]


def measure(nlp: Language, texts: list[str], calls: int, rounds: int, torch_threads: int) -> dict[str, Any]:
    """Call the pipeline in plain loops and from several threads, in turns.

    torch_threads: Threads of one operation in the pool's threads.
    RETURNS: Words a second and other answers by number of threads, and the largest difference of a score.
    """
    usual = torch.get_num_threads()
    expected = {text: answer(nlp(text)) for text in texts}
    n_words = {text: len(nlp.make_doc(text)) for text in texts}
    loops = {f"plain loop, {number} of torch": number for number in (usual, torch_threads)}
    seconds = dict.fromkeys([*loops, *map(str, N_THREADS)], 0.0)
    others = {str(number): 0 for number in N_THREADS}
    largest, total = 0.0, 0
    stream = cycle(texts)
    for done in range(rounds):
        batch = list(islice(stream, calls // rounds + (done < calls % rounds)))
        total += sum(n_words[text] for text in batch)
        for name, number in loops.items():
            torch.set_num_threads(number)
            seconds[name] += spend(lambda texts: list(map(nlp, texts)), batch)[1]
        for number in N_THREADS:
            # Every thread has a setting of its own.
            with ThreadPoolExecutor(
                number, initializer=torch.set_num_threads, initargs=(torch_threads,)
            ) as pool:
                docs, spent = spend(lambda texts, pool=pool: list(pool.map(nlp, texts)), batch)
            seconds[str(number)] += spent
            gaps = [difference(answer(doc), expected[t]) for t, doc in zip(batch, docs, strict=True)]
            others[str(number)] += sum(gap > TOLERANCE for gap in gaps)
            largest = max(largest, *gaps)
    torch.set_num_threads(usual)
    return {
        "calls": calls,
        "texts": len(texts),
        "torch_threads": torch_threads,
        "words_per_second": {name: total / spent for name, spent in seconds.items()},
        "other_answers": others,
        "largest_difference": largest,
    }


def spend(work: Callable[[list[str]], list[Doc]], texts: list[str]) -> tuple[list[Doc], float]:
    """RETURNS: Documents, and the seconds that they took."""
    start = time.perf_counter()
    docs = work(texts)
    return docs, time.perf_counter() - start


def answer(doc: Doc) -> Answer:
    """Read what components wrote on a document."""
    entities = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
    scores = [score for group in doc.spans.values() for score in group.attrs.get("scores", ())]
    scores += (doc._.language_scores or {}).values()
    if doc._.cluster_score is not None:
        scores.append(doc._.cluster_score)
    return Answer([doc._.language, doc._.cluster, *entities], scores)


def difference(one: Answer, other: Answer) -> float:
    """The largest difference of two scores; infinite if anything else differs, or a score is no number."""
    if one.entities != other.entities or len(one.scores) != len(other.scores):
        return math.inf
    gaps = [abs(a - b) for a, b in zip(one.scores, other.scores, strict=True)]
    return max((math.inf if math.isnan(gap) else gap for gap in gaps), default=0.0)


if __name__ == "__main__":
    typer.run(main)
