"""Memory and speed of the conversions: raw text and tagged files of growing size.

Every size runs in a process of its own, whose largest memory is printed beside its speed (sentences in a
second of the processor). Words are made up and as rare as Zipf's law has it, so that a larger corpus has more
different ones.

python benchmarks/convert.py 10000 100000 1000000 --out benchmarks/results/convert.json
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy

WORDS_A_SENTENCE = 9
VOCABULARY = 500_000


def main() -> None:
    """Print a table: sentences, sentences a second, peak memory, size of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--kinds", nargs="*", default=["text", "tagged"], choices=["text", "tagged"])
    parser.add_argument("--out", type=Path, help="JSON file for the figures.")
    parser.add_argument("--job", nargs=3, metavar=("KIND", "INPUT", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        convert(*arguments.job)
        return
    # Not at the top: the processes that are measured run this file too.
    from record import Record, Table

    command = shlex.join(["python", "benchmarks/convert.py", *sys.argv[1:]])
    record = Record(command, f"Made-up sentences of about {WORDS_A_SENTENCE} words, {VOCABULARY:,} words.")
    rows: list[list[str]] = []
    print(f"{'input':8}{'sentences':>12}{'a second':>12}{'peak MB':>10}{'file MB':>10}")
    for kind in arguments.kinds:
        for size in arguments.sizes:
            speed, peak, megabytes = measure(kind, size)
            rows.append([kind, f"{size:,}", f"{speed:,.0f}", f"{peak:,.0f}", f"{megabytes:,.1f}"])
            print("{:8}{:>12}{:>12}{:>10}{:>10}".format(*rows[-1]), flush=True)
            if arguments.out:
                header = ["input", "sentences", "sentences a CPU second", "peak memory, MB", "file, MB"]
                record.write(arguments.out, [Table("Conversions of growing size", header, rows)])


def measure(kind: str, size: int) -> tuple[float, float, float]:
    """Convert so many sentences. RETURNS: Sentences a CPU second, peak memory and file in MB."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        write_input(kind, source, size)
        job = [sys.executable, __file__, "--job", kind, str(source), str(out)]
        done = subprocess.run(job, check=True, capture_output=True, text=True)
        seconds, peak = map(float, done.stdout.split())
        [corpus] = out.glob("*.spacy")
        return size / seconds, peak, corpus.stat().st_size / 1e6


def convert(kind: str, source: str, out: str) -> None:
    """Convert in this process, and print its seconds and its largest memory in megabytes."""
    from memory import memory

    from spacy_xner.corpus.convert import convert_tagged, convert_text, make_label_rules

    # Seconds of the processor, so that other work on the machine counts little.
    start = time.process_time()
    if kind == "text":
        convert_text(Path(source), Path(out), "xx")
    else:
        list(convert_tagged(Path(source), Path(out), "made", make_label_rules()))
    print(time.process_time() - start, memory())


def write_input(kind: str, path: Path, n_sentences: int) -> None:
    """Write made-up sentences as text, or as tagged tokens of a language `xx`."""
    if kind == "tagged":
        path = path / "xx" / "train.tsv"
        path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as file:
        for words in make_sentences(n_sentences):
            if kind == "text":
                file.write(" ".join(words) + ".\n")
            else:
                tags = ["B-PER", *["O"] * (len(words) - 1)]
                file.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
                file.write("\n")


def make_sentences(n_sentences: int) -> Iterator[list[str]]:
    """Make up sentences of about nine words."""
    rng = numpy.random.default_rng(0)
    letters = numpy.array(list("abcdefghijklmnopqrstuvwxyz"))
    lengths = rng.integers(2, 10, size=VOCABULARY)
    vocabulary = ["".join(letters[rng.integers(26, size=length)]) for length in lengths]
    for _ in range(n_sentences):
        ranks = rng.zipf(1.2, size=rng.integers(3, 2 * WORDS_A_SENTENCE - 2))
        yield [vocabulary[rank % VOCABULARY] for rank in ranks]


if __name__ == "__main__":
    main()
