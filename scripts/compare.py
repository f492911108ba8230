"""Every way from the data that you have to a tagger of another language, side by side in one table."""

import gc
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.cli._util import setup_gpu
from wasabi import msg

from spacy_xner.corpus.names import find_files
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.files import read_json, write_json, write_text
from spacy_xner.router.grouping import read_grouping
from spacy_xner.scoring import annotate, count_by_sentence

import comparison
from common import split_names
from comparison import UPPER_BOUND
from routes import ROUTES, Task
from runs import claim, is_done

# A message of this package or of spaCy has a code; an error without one is a mistake in the program.
CODED = re.compile(r"\[[A-Z]+-?\d+\]")


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    out: Annotated[Path, typer.Argument(help="Folder of the table and pipelines; finished routes are kept.")],
    target: Annotated[str, typer.Option(help="Language to tag; it needs a test file.")],
    language: Annotated[str, typer.Option(help="Language with labels.")] = "en",
    source: Annotated[str, typer.Option(help="Corpora, as in the file names; empty for all.")] = "",
    parallel: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, help="Parallel text: `source TAB target`, or give the option twice, a side each."
        ),
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option(exists=True, help="MUSE, TSV, StarDict (.ifo) or FreeDict (.tei).")
    ] = None,
    reverse: Annotated[bool, typer.Option(help="The dictionary goes from target to source.")] = False,
    text: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of plain text, {lang}.txt, .gz or .xz."),
    ] = None,
    grouping: Annotated[
        Path | None,
        typer.Option(exists=True, help="Clusters of languages (`cluster`): labels of the target's alone."),
    ] = None,
    routes: Annotated[str, typer.Option(help="Comma-separated; all that the data allows by default.")] = "",
    upper_bound: Annotated[bool, typer.Option(help="Also train on the target's own labels.")] = False,
    minutes: Annotated[float, typer.Option(min=0, help="Training steps a route; 0 to convergence.")] = 0.0,
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    limit: Annotated[int, typer.Option(help="Labelled sentences a file; 0 takes all.")] = 2000,
    dev_limit: Annotated[int, typer.Option(help="Dev sentences a file; 0 takes all.")] = 300,
    test_limit: Annotated[int, typer.Option(help="Test sentences a file; 0 takes all.")] = 500,
    pairs: Annotated[int, typer.Option(help="Pairs of sentences; 0 takes all.")] = 10_000,
    words: Annotated[int, typer.Option(help="Words a language that get vectors; 0 takes all.")] = 30_000,
    learn_rate: Annotated[float, typer.Option(help="Of transformers; students take a quarter.")] = 2e-4,
    batch_size: Annotated[int, typer.Option(help="Sentences a step.")] = 32,
    seed: Annotated[int, typer.Option(help="Of all that is random but threads that train vectors.")] = 0,
    configs: Annotated[Path, typer.Option(help="Folder of training configs.")] = Path("configs"),
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Train every route that the data allows, and write compare.md, compare.json and a pipeline a route.

    Equal time (--minutes) counts training steps, those of a teacher included: their number comes from the
    speed of the first ones. It does not count evaluations and what is made before (projection, vectors,
    translations); the table's minutes count everything. A route that fails has its reason in the table, and
    is tried again by the next start.
    """
    chosen = split_names(routes) or [name for name in ROUTES if name != UPPER_BOUND]
    if unknown := sorted(set(chosen) - set(ROUTES)):
        msg.fail(f"Routes {unknown}: expected some of {', '.join(ROUTES)}", exits=1)
    settings = {
        "language": language, "target": target, "source": source, "encoder": encoder, "limit": limit,
        "dev_limit": dev_limit, "test_limit": test_limit, "minutes": minutes, "learn_rate": learn_rate,
        "batch_size": batch_size, "seed": seed, "corpus": str(corpus.resolve()),
    }  # fmt: skip
    if target == language:
        msg.fail(f"{target} has labels: give another --target", exits=1)
    if grouping is not None and target not in read_grouping(grouping).cluster_of:
        msg.fail(f"{grouping} has no cluster with {target}", exits=1)
    task = Task(
        corpus, out, settings, tuple(parallel or ()), dictionary, reverse, text, grouping, pairs, words,
        configs, mixed_precision, gpu,
    )  # fmt: skip
    for split, needed in (("train", language), ("dev", language), ("test", target)):
        find_files(corpus, split, [needed], task.sources)
    out.mkdir(parents=True, exist_ok=True)
    if upper_bound:
        chosen.append(UPPER_BOUND)
    reasons = {name: run_route(name, task) for name in chosen}
    report(task, [name for name in reasons if not reasons[name]], reasons)


def run_route(name: str, task: Task) -> str:
    """Train a route unless that was done before. RETURNS: Why there is none, or nothing."""
    route = ROUTES[name]
    if missing := route.missing(task):
        return f"needs {missing}"
    path = task.out / f"{name}.json"
    settings = {**task.settings, **route.inputs(task)}
    with claim(path) as is_mine:
        if not is_mine:
            return "another process is at it"
        if is_done(path, settings):
            msg.info(f"{name}: done before")
            return ""
        msg.divider(name)
        start = time.perf_counter()
        folder = task.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            trained = route.run(task, folder)
        except (SystemExit, typer.Exit):
            return "stopped; its message is above the table"
        except (ValueError, ImportError, OSError) as error:
            if not CODED.match(str(error)):
                raise
            return " ".join(str(error).split())
        result = {
            "route": name,
            "about": route.about(task),
            "settings": settings,
            "sentences": trained.n_sentences,
            "seconds": time.perf_counter() - start + trained.seconds_before,
            "chosen": trained.chosen,
            "epochs": trained.epochs,
        }
        write_json(path, result)
    return ""


def measure(task: Task, name: str) -> dict[str, Any]:
    """Measure a finished pipeline: words a second, size, and entities of every test sentence.

    Every text is read once: the BiLSTM remembers words. Source text warms up.
    """
    nlp = spacy.load(task.out / name / "pipeline")

    def read(split: str, language: str, limit: int) -> list[Any]:
        corpus = create_multilingual_corpus(
            task.corpus, split=split, languages=[language], sources=task.sources, limit=limit
        )
        return list(corpus(nlp))

    for _ in nlp.pipe([example.text for example in read("dev", task.language, 20)]):
        pass
    examples = read("test", task.target, task.settings["test_limit"])
    start = time.perf_counter()
    n_words = sum(len(doc) for doc in nlp.pipe([example.text for example in examples]))
    seconds = time.perf_counter() - start
    annotate(nlp, examples)
    files = [path for path in (task.out / name / "pipeline").rglob("*") if path.is_file()]
    return {
        "words_per_second": n_words / seconds,
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "counts": count_by_sentence(examples)[task.target],
    }


def report(task: Task, names: Sequence[str], reasons: dict[str, str]) -> None:
    """Measure the finished pipelines, one after the other in this process, and write the table.

    names: Routes with a pipeline. reasons: Why others have none.
    """
    reasons = {name: reason for name, reason in reasons.items() if reason}
    setup_gpu(task.gpu, silent=True)
    measured = {}
    for name in names:
        measured[name] = measure(task, name)
        # Pipelines in memory at once would share their frozen layers and what these compute.
        gc.collect()
    results = {name: read_json(task.out / f"{name}.json") for name in names}
    rows = [comparison.make_row(results[name], measured[name]) for name in names]
    differences = comparison.compare_with_best(rows, {name: measured[name]["counts"] for name in names})
    n_sentences = len(measured[names[0]]["counts"]) if names else 0
    advice = comparison.advise(rows, differences, n_sentences, task.target)
    conditions = comparison.describe_conditions(task.settings, n_sentences)
    lines = comparison.tabulate(rows, reasons)
    content = {
        "settings": task.settings,
        "routes": [row._asdict() for row in rows],
        "reasons": reasons,
        "best_against": {name: found._asdict() for name, found in differences.items()},
        "advice": advice,
    }
    write_json(task.out / "compare.json", content)
    write_text(task.out / "compare.md", comparison.markdown(lines, advice, conditions))
    msg.table(lines, header=comparison.HEADER, divider=True, max_col=60)
    for line in advice:
        msg.info(line)
    msg.good(f"{task.out / 'compare.md'}")


if __name__ == "__main__":
    typer.run(main)
