"""One pipeline in many threads, as a web server calls it: are the answers those of one thread, and how fast?

All numbers of threads take turns on the same texts within one run, so that other work on the machine slows
them alike; the best turn of each counts. Words in a second of the processor are given too, which other work
hardly changes: what threads cost one another shows there. A plain loop and the most threads are measured
twice: with torch's own number of threads for an operation, and with that of the pool's threads.
"""

import math
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import spacy
import torch
import typer
from record import Record, Table
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_xner.corpus.docs import read_docs
from spacy_xner.corpus.names import find_files

N_THREADS = (1, 2, 4, 8)
# Scores that differ by more are other scores.
TOLERANCE = 1e-6


class Setting(NamedTuple):
    """How texts are read.

    n_threads: Threads of a pool; 0 for a plain loop.
    n_torch: Threads of one operation of torch in each of them.
    """

    n_threads: int
    n_torch: int


class Answer(NamedTuple):
    """The annotation that a pipeline gives a text.

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
    calls: Annotated[int, typer.Option(min=1, help="Calls with the most threads, all compared.")] = 5000,
    timed: Annotated[int, typer.Option(min=0, help="Timed calls of each setting; 0 for all.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that the timed calls are spread over.")] = 5,
    torch_threads: Annotated[
        int, typer.Option(min=1, help="Threads of one operation of torch in every thread of the pool.")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Call a pipeline from 1, 2, 4 and 8 threads, and compare every answer with that of a plain loop."""
    record = Record(shlex.join(["python", "benchmarks/threads.py", *sys.argv[1:]]), "")
    msg.info(str(record.machine))
    nlp = spacy.load(pipeline)
    samples = read_texts(nlp, texts, [name for name in languages.split(",") if name], limit)
    result = measure(nlp, samples, (timed or calls, calls), rounds, torch_threads)
    table = summarize(result)
    msg.table(table.rows, header=table.header, divider=True, aligns=tuple("lrrrrr"))
    if out is not None:
        note = (
            f"{len(samples)} texts, {rounds} turns; largest difference: {result['largest_difference']:.1e}."
        )
        record.write(out, [table], note, pipeline=pipeline.name, **result)
    if any(result["other_answers"].values()):
        msg.fail(f"Threads change answers; largest difference: {result['largest_difference']:.1e}", exits=1)
    msg.good(f"All answers are those of a plain loop; largest difference: {result['largest_difference']:.1e}")


def summarize(result: dict[str, Any]) -> Table:
    """A row a setting: speeds, also as shares of the plain loop with as many threads of torch."""
    speeds, cpu = result["words_per_second"], result["words_per_cpu_second"]
    base = speeds[result["base"]]
    rows = [
        [
            name, f"{speed:,.0f}", f"{speed / base:.2f}x", f"{cpu[name]:,.0f}",
            str(result["other_answers"].get(name, "")), f"{result['compared'].get(name, 0):,}",
        ]
        for name, speed in speeds.items()
    ]  # fmt: skip
    header = ["threads", "words/s", "of the plain loop", "words/CPU second", "other answers", "of calls"]
    return Table("One pipeline in many threads", header, rows)


def read_texts(nlp: Language, folder: Path, languages: list[str], limit: int) -> list[str]:
    """Read the first texts of every language, one language after the other in turn."""
    by_language = [
        [doc.text for doc in islice(read_docs(paths[0]).get_docs(nlp.vocab), limit)]
        for paths in find_files(folder, "test", languages).values()
    ]
    return [texts[i] for i in range(max(map(len, by_language))) for texts in by_language if i < len(texts)]


def measure(
    nlp: Language, texts: list[str], calls: tuple[int, int], rounds: int, torch_threads: int
) -> dict[str, Any]:
    """Call the pipeline in plain loops and from several threads, in turns.

    calls: Timed calls of every setting; all calls with the most threads.
    torch_threads: Threads of one operation in the pool's threads.
    RETURNS: Words a second and other answers by setting, and the largest difference of a score.
    """
    timed, total = calls
    usual = torch.get_num_threads()
    settings = make_settings(usual, torch_threads)
    expected = {text: answer(nlp(text)) for text in texts}
    n_words = {text: len(nlp.make_doc(text)) for text in texts}
    speeds: dict[str, list[float]] = {name: [] for name in settings}
    cpu = dict.fromkeys(settings, 0.0)
    gaps: dict[str, list[float]] = {name: [] for name, setting in settings.items() if setting.n_threads}
    stream, words = cycle(texts), 0
    for done in range(rounds):
        batch = list(islice(stream, timed // rounds + (done < timed % rounds)))
        size = sum(n_words[text] for text in batch)
        words += size
        for name, setting in settings.items():
            docs, seconds, of_processor = spend(nlp, setting, batch)
            speeds[name].append(size / seconds)
            cpu[name] += of_processor
            if name in gaps:
                gaps[name] += compare(docs, batch, expected)
    most = str(max(N_THREADS))
    rest = list(islice(stream, max(0, total - timed)))
    gaps[most] += compare(spend(nlp, settings[most], rest)[0], rest, expected)
    torch.set_num_threads(usual)
    return {
        "calls": total,
        "timed": timed,
        "texts": len(texts),
        "torch_threads": torch_threads,
        "base": f"plain loop, {torch_threads} of torch",
        "words_per_second": {name: max(values) for name, values in speeds.items()},
        "words_per_second_by_turn": speeds,
        "words_per_cpu_second": {name: words / spent for name, spent in cpu.items()},
        "other_answers": {name: sum(gap > TOLERANCE for gap in values) for name, values in gaps.items()},
        "compared": {name: len(values) for name, values in gaps.items()},
        "largest_difference": max(gap for values in gaps.values() for gap in values),
    }


def make_settings(usual: int, torch_threads: int) -> dict[str, Setting]:
    """All settings by name; those with torch's usual number of threads first."""
    settings = {}
    for number in (usual, torch_threads):
        settings[f"plain loop, {number} of torch"] = Setting(0, number)
    if usual != torch_threads:
        settings[f"{max(N_THREADS)}, {usual} of torch"] = Setting(max(N_THREADS), usual)
    return {**settings, **{str(number): Setting(number, torch_threads) for number in N_THREADS}}


def spend(nlp: Language, setting: Setting, texts: list[str]) -> tuple[list[Doc], float, float]:
    """RETURNS: Documents, the seconds that they took, and the processor's seconds."""
    torch.set_num_threads(setting.n_torch)
    start, of_processor = time.perf_counter(), time.process_time()
    if setting.n_threads:
        # torch has a number for every thread.
        with ThreadPoolExecutor(
            setting.n_threads, initializer=torch.set_num_threads, initargs=(setting.n_torch,)
        ) as pool:
            docs = list(pool.map(nlp, texts))
    else:
        docs = list(map(nlp, texts))
    return docs, time.perf_counter() - start, time.process_time() - of_processor


def compare(docs: list[Doc], texts: list[str], expected: dict[str, Answer]) -> list[float]:
    """The largest difference of each document from the answer that is expected for its text."""
    return [difference(answer(doc), expected[text]) for text, doc in zip(texts, docs, strict=True)]


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
