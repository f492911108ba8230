"""One pipeline in many threads, as a web server calls it: are the answers those of one thread, and how fast?

All numbers of threads take turns on the same texts within one run, so that other work on the machine slows
them alike.
"""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
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
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Call a pipeline from 1, 2, 4 and 8 threads, and compare every answer with that of a plain loop."""
    machine = describe_machine()
    msg.info(
        f"{machine.cpu} ({', '.join(machine.instruction_sets)}), {machine.n_cores} cores, "
        f"{machine.n_threads} threads of torch {machine.torch}"
    )
    nlp = spacy.load(pipeline)
    samples = read_texts(nlp, texts, [name for name in languages.split(",") if name], limit)
    result = measure(nlp, samples, calls, rounds)
    speeds = result["words_per_second"]
    rows = [
        (name, f"{speed:,.0f}", f"{speed / speeds['serial']:.2f}x", result["other_answers"].get(name, ""))
        for name, speed in speeds.items()
    ]
    msg.table(rows, header=("threads", "words/s", "", "other answers"), divider=True, aligns=tuple("rrrr"))
    if out is not None:
        out.write_text(
            json.dumps({"pipeline": pipeline.name, "machine": machine._asdict(), **result}, indent=2)
        )
    if any(result["other_answers"].values()):
        msg.fail(f"Threads change answers, scores by up to {result['largest_difference']:.1e}", exits=1)
    msg.good(f"All answers are those of a plain loop, scores to {result['largest_difference']:.1e}")


def read_texts(nlp: Language, folder: Path, languages: list[str], limit: int) -> list[str]:
    """Read the first texts of every language, one language after the other in turn."""
    by_language = [
        [doc.text for doc in islice(read_docs(paths[0]).get_docs(nlp.vocab), limit)]
        for paths in find_files(folder, "test", languages).values()
    ]
    return [texts[i] for i in range(max(map(len, by_language))) for texts in by_language if i < len(texts)]


def measure(nlp: Language, texts: list[str], calls: int, rounds: int) -> dict[str, Any]:
    """Call the pipeline in a plain loop and from several threads, in turns.

    RETURNS: Words a second and other answers by number of threads, and the largest difference of a score.
    """
    expected = {text: answer(nlp(text)) for text in texts}
    n_words = {text: len(nlp.make_doc(text)) for text in texts}
    seconds = dict.fromkeys(["serial", *map(str, N_THREADS)], 0.0)
    others = {str(number): 0 for number in N_THREADS}
    largest = 0.0
    stream = cycle(texts)
    total = 0
    for done in range(rounds):
        batch = list(islice(stream, calls // rounds + (done < calls % rounds)))
        total += sum(n_words[text] for text in batch)
        seconds["serial"] += spend(lambda texts: list(map(nlp, texts)), batch)[1]
        for number in N_THREADS:
            with ThreadPoolExecutor(number) as pool:
                docs, spent = spend(lambda texts, pool=pool: list(pool.map(nlp, texts)), batch)
            seconds[str(number)] += spent
            for text, doc in zip(batch, docs, strict=True):
                gap = difference(answer(doc), expected[text])
                others[str(number)] += gap > TOLERANCE
                largest = max(largest, gap)
    return {
        "calls": calls,
        "texts": len(texts),
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
    """The largest difference of two scores; infinite if anything else differs."""
    if one.entities != other.entities or len(one.scores) != len(other.scores):
        return float("inf")
    return largest_of(abs(a - b) for a, b in zip(one.scores, other.scores, strict=True))


def largest_of(numbers: Iterable[float]) -> float:
    """The largest number, 0 of none; infinite if one is not a number."""
    # A comparison with NaN is False: max() would pass over it.
    return max((number if number == number else float("inf") for number in numbers), default=0.0)


if __name__ == "__main__":
    typer.run(main)
