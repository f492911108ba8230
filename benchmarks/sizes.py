"""How large pipelines are whole and trimmed: wheel, disk, memory, loading; and their F1 by language.

Every pipeline is loaded in a process of its own, so that its peak memory is its own.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

LOAD = "load"
SETTINGS = (
    "Every pipeline is loaded in a process of its own, and tags four sentences. Seconds are beyond the "
    "imports, which take 516 MB of the peak. Trimmed pipelines are stored in half precision, "
    "embeddings in 4-bit blocks."
)


def main(
    pipelines: Annotated[list[Path], typer.Argument(help="Trained pipelines; the first one is scored.")],
    work: Annotated[Path, typer.Option(help="Folder for trimmed pipelines and their wheels.")],
    corpus: Annotated[Path, typer.Option(help="Corpus: train and dev to trim by, test to score on.")],
    wikiann: Annotated[Path, typer.Option(help="Folder {lang}/test.tsv of WikiAnn.")],
    grouping: Annotated[Path, typer.Option(help="The languages of clusters, by folder name.")],
    keep: Annotated[str, typer.Option(help="See `xner trim`.")] = "scripts",
    limit: Annotated[int, typer.Option(help="WikiAnn sentences a language; 0 scores nothing.")] = 300,
    wheels: Annotated[Path | None, typer.Option(help="Folder with wheels of the whole pipelines.")] = None,
    out: Annotated[Path, typer.Option(help="Result file.")] = Path("benchmarks/results/sizes.json"),
) -> None:
    """Trim pipelines, and write all figures before and after."""
    from spacy_xner.deploy.package import build_wheel
    from spacy_xner.deploy.trim import read_texts, trim_folder
    from spacy_xner.router.grouping import read_grouping

    clusters = read_grouping(grouping).clusters
    rows: dict[str, Any] = {}
    for path in pipelines:
        place, languages = work / "pipelines" / path.name, clusters.get(path.name, [])
        sizes = trim_folder(path, place, read_texts([corpus], languages), languages=languages, keep=keep)
        name = path.name if path.name.startswith("xner") else f"xner_{path.name}"
        wheel = build_wheel(place.resolve(), (work / "wheels").resolve(), name, "0.1.0")
        old = next(wheels.glob(f"xx_{name}-*.whl"), None) if wheels else None
        rows[path.name] = {
            "languages": languages or sorted(lang for group in clusters.values() for lang in group),
            "before": {"wordpieces": sizes.n_before, **_describe(path, old)},
            "after": {"wordpieces": sizes.n_after, **_describe(place, wheel)},
        }
        msg.good(f"{path.name}: {json.dumps(rows[path.name])}")
    trimmed = work / "pipelines" / pipelines[0].name
    sources = {
        "sample": corpus,
        "wikiann": _convert(wikiann, work, rows[pipelines[0].name]["languages"], limit),
    }
    scores = {
        source: {
            state: _score(path, folder) for state, path in (("before", pipelines[0]), ("after", trimmed))
        }
        for source, folder in (sources.items() if limit else ())
    }
    from record import Record

    record = Record(" ".join(["python", *sys.argv]), SETTINGS)
    record.write(out, summarize(rows, scores), pipelines=rows, scored=pipelines[0].name, f1=scores)
    for source, pair in scores.items():
        changes = {k: round(pair["after"][k] - pair["before"][k], 2) for k in pair["before"]}
        msg.info(f"{source}: {changes}")


def summarize(rows: dict[str, Any], scores: dict[str, Any]) -> list[Any]:
    """Tables of sizes, and of F1 where it was scored."""
    from record import Table

    header = [
        "",
        "languages",
        "wordpieces",
        "wheel MB",
        "disk MB",
        "seconds of CPU to load",
        "peak memory MB",
    ]
    sizes = [
        [f"{name}, {state}", str(len(row["languages"])), f"{row[state]['wordpieces']:,}"]
        + ["–" if row[state][key] is None else f"{row[state][key]:,.0f}" for key in ("wheel_mb", "disk_mb")]
        + [f"{row[state]['load_cpu_s']:.1f}", f"{row[state]['used_peak_mb']:,.0f}"]
        for name, row in rows.items()
        for state in ("before", "after")
    ]
    tables = [Table("Pipelines before and after trimming", header, sizes)]
    if scores:
        languages = list(next(iter(scores.values()))["before"])
        f1 = [
            [f"{source}, {state}", *(f"{pair[state][lang]:.1f}" for lang in languages)]
            for source, pair in scores.items()
            for state in ("before", "after")
        ]
        changes = [
            [
                f"{source}, change",
                *(f"{pair['after'][lang] - pair['before'][lang]:+.2f}" for lang in languages),
            ]
            for source, pair in scores.items()
        ]
        tables.append(Table("F1 before and after trimming", ["", *languages], [*f1, *changes]))
    return tables


def _describe(path: Path, wheel: Path | None) -> dict[str, Any]:
    """Sizes in megabytes, seconds of CPU."""
    command = [sys.executable, __file__, LOAD, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return {
        "wheel_mb": wheel.stat().st_size / 1e6 if wheel else None,
        "disk_mb": size / 1e6,
        **json.loads(done.stdout.splitlines()[-1]),
    }


def load(path: str) -> None:
    """Load a pipeline in this process, and print what it took beyond the imports."""
    import spacy
    import torch  # noqa: F401
    from memory import memory

    # The modules of the components, which `spacy.load` would import.
    import spacy_xner.router.component
    import spacy_xner.router.identifier
    import spacy_xner.tagger.component
    import spacy_xner.transformer.model  # noqa: F401

    spacy.blank("xx").factory_names  # noqa: B018
    before, start = memory(), time.process_time()
    nlp = spacy.load(path)
    seconds, peak = time.process_time() - start, memory()
    list(nlp.pipe(["Ada Lovelace was born in London."] * 4))
    figures = {"load_cpu_s": seconds, "imports_mb": before, "load_peak_mb": peak, "used_peak_mb": memory()}
    print(json.dumps(figures))


def _convert(wikiann: Path, work: Path, languages: list[str], limit: int) -> Path:
    """Convert the first test sentences of every language."""
    from spacy_xner.corpus.convert import Selection, convert_tagged, make_label_rules

    folder = work / "wikiann" / "corpus"
    selection = Selection(languages, limit, splits=("test",))
    list(convert_tagged(wikiann, folder, "wikiann", make_label_rules(), selection))
    return folder


def _score(path: Path, corpus: Path) -> dict[str, float]:
    """F1 in percent by language, and over all; the pipeline is not told the languages."""
    import spacy

    from spacy_xner.evaluation import read_examples
    from spacy_xner.scoring import annotate

    nlp = spacy.load(path)
    scores = annotate(nlp, read_examples(nlp, corpus, "test", [], 0))
    by_language = {lang: 100 * values["f"] for lang, values in scores["ents_per_language"].items()}
    return {"all": 100 * scores["ents_f"], **by_language}


if __name__ == "__main__":
    if sys.argv[1:2] == [LOAD]:
        load(sys.argv[2])
    else:
        typer.run(main)
