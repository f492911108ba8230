"""Words a second and memory of the routed pipeline against one tagger for all languages, in one run.

Both read the same mixed text; every system runs in a process of its own.
"""

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated
from unittest import mock

import spacy
import typer
from memory import memory
from wasabi import msg

from spacy_xner.machine import describe_machine
from spacy_xner.transformer.network import TransformerNetwork

from inference import make_texts

SYSTEMS = ("single", "routed", "routed, nothing shared")


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-test.spacy files.")],
    single: Annotated[Path, typer.Argument(help="Pipeline with one tagger for all languages.")],
    routed: Annotated[Path, typer.Argument(help="Routed pipeline.")],
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "de,en,es,fr,ru,zh,ar,ko",
    n_words: Annotated[int, typer.Option(help="Words a set of texts.")] = 12000,
    n_passes: Annotated[int, typer.Option(help="The fastest of so many passes counts.")] = 3,
    system: Annotated[str, typer.Option(hidden=True)] = "",
    texts_path: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure on test sentences of all languages in random order, and on longer documents of them."""
    if system and texts_path is not None:
        folder = single if system == "single" else routed
        texts = json.loads(texts_path.read_text())
        print(json.dumps(measure(folder, texts, n_passes, share="nothing" not in system)))
        return
    msg.info(str(describe_machine()))
    with tempfile.TemporaryDirectory() as work:
        texts_path = Path(work) / "texts.json"
        texts = make_texts(corpus, languages.split(","), n_words)
        for group in texts.values():
            random.Random(0).shuffle(group)
        texts_path.write_text(json.dumps(texts))
        results = {}
        for name in SYSTEMS:
            msg.info(f"{name} ...")
            command = [
                sys.executable, __file__, corpus, single, routed,
                "--system", name, "--texts-path", texts_path, "--n-passes", n_passes,
            ]  # fmt: skip
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
    base = results["single"]
    rows = [
        (
            name,
            *(f"{r[key]:,.0f} ({base[key] / r[key]:.2f}x the time)" for key in texts),
            f"{r['peak']:,.0f} MB ({r['peak'] / base['peak']:.2f}x)",
            f"{r['resident']:,.0f} MB ({r['resident'] / base['resident']:.2f}x)",
        )
        for name, r in results.items()
    ]
    msg.table(rows, header=("words/s", *texts, "peak memory", "memory after"), divider=True)


def measure(folder: Path, texts: dict[str, list[str]], n_passes: int, *, share: bool) -> dict[str, float]:
    """Measure one pipeline. RETURNS: Words a second by set of texts, memory in MB."""
    alone = mock.patch.object(TransformerNetwork, "share_frozen")
    with contextlib.nullcontext() if share else alone:
        nlp = spacy.load(folder)
    list(nlp.pipe(texts["sentences"][:64]))
    result: dict[str, float] = {}
    for name, group in texts.items():
        n_words = sum(len(nlp.make_doc(text)) for text in group)
        seconds = []
        for _ in range(n_passes):
            start = time.perf_counter()
            for _ in nlp.pipe(group):
                pass
            seconds.append(time.perf_counter() - start)
        result[name] = n_words / min(seconds)
    result["peak"], result["resident"] = memory("VmHWM"), memory("VmRSS")
    return result


if __name__ == "__main__":
    typer.run(main)
