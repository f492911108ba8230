"""The service under load: answers, throughput against the pipeline alone, and memory.

Clients on the loopback ask for one text at a time, each as soon as it has its answer. Every answer is
compared with that of the pipeline reading the text by itself. In turns with the requests, the pipeline alone
reads the same texts in full batches in a process that does nothing else.

python benchmarks/serve.py PIPELINE CORPUS --count 20000 --out benchmarks/results/serve.json
"""

import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from memory import memory
from wasabi import msg

# Before torch is imported: the pipeline alone and the service have one thread each.
os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")})

HOST = "127.0.0.1"
HEAD = (
    "POST /entities HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {n}\r\n\r\n"
)
# A probability may differ so much when its text is read beside longer ones, in bfloat16.
TOLERANCE = 0.02


class Load(NamedTuple):
    """The result of a turn of requests.

    seconds: From the first request to the last answer.
    latencies: Seconds of each request.
    wrong: Texts whose entities or their places were others than those of the pipeline.
    shifted: Texts with a probability that was further away than the tolerance.
    lost: Requests without an answer.
    """

    seconds: float
    latencies: list[float]
    wrong: int
    shifted: int
    lost: int


def main(
    pipeline: Annotated[Path, typer.Argument(help="Folder of a trained pipeline.")],
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-test.spacy files.")],
    count: Annotated[int, typer.Option(help="Requests of all turns.")] = 20_000,
    clients: Annotated[int, typer.Option(help="Clients that ask at the same time.")] = 64,
    rounds: Annotated[int, typer.Option(help="Turns of both.")] = 4,
    batch_size: Annotated[int, typer.Option(help="Texts a batch, of both.")] = 64,
    n_texts: Annotated[int, typer.Option(help="Different texts.")] = 900,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Measure the service and the pipeline in turns."""
    import spacy
    from record import Record, Table

    record = Record(
        shlex.join(["python", "benchmarks/serve.py", *sys.argv[1:]]),
        f"{count:,} requests of one sentence by {clients} clients on the loopback, {rounds} turns with the "
        f"pipeline alone at batches of {batch_size}; test sentences of {corpus.name}, one "
        "thread of torch each.",
    )
    nlp = spacy.load(pipeline)
    texts = read_texts(corpus, n_texts)
    expected = [entities_of(nlp(text)) for text in texts]
    n_turn = count // rounds
    turn = list(islice(cycle(range(len(texts))), n_turn))
    with Service(pipeline, batch_size) as service:
        asyncio.run(load(service.port, turn[:512], texts, expected, clients))  # Warms up.
        before = service.memory()
        loads, speeds, memories = [], [], []
        for number in range(rounds):
            loads.append(asyncio.run(load(service.port, turn, texts, expected, clients)))
            memories.append(service.memory())
            start = time.perf_counter()
            for _ in nlp.pipe((texts[i] for i in turn), batch_size=batch_size):
                pass
            speeds.append(n_turn / (time.perf_counter() - start))
            msg.info(
                f"Turn {number + 1}: {n_turn / loads[-1].seconds:.0f} requests/s, {speeds[-1]:.0f} texts/s "
                f"of the pipeline alone, {memories[-1]:.0f} MB, {loads[-1][2:]}"
            )
        batches = service.mean_batch()
    figures = summarize(loads, speeds, n_turn, (before, memories), batches)
    table = Table("The service under load", list(figures), [list(figures.values())])
    msg.table(table.rows, header=table.header, divider=True)
    if out is not None:
        turns = [
            {"requests": n_turn / row.seconds, "alone": speed, "memory": memory}
            for row, speed, memory in zip(loads, speeds, memories, strict=True)
        ]
        record.write(out, [table], figures={"turns": turns, "memory_before": before})


def summarize(
    loads: list[Load], speeds: list[float], n_turn: int, memory: tuple[float, list[float]], batch: float
) -> dict[str, str]:
    """The row of the table. memory: Before the load and after each turn, in MB."""
    latencies = sorted(latency for row in loads for latency in row.latencies)
    served = sum(n_turn / row.seconds for row in loads) / len(loads)
    alone = sum(speeds) / len(speeds)
    return {
        "requests": f"{n_turn * len(loads):,}",
        "wrong": str(sum(row.wrong for row in loads)),
        "lost": str(sum(row.lost for row in loads)),
        f"probability {TOLERANCE} off": str(sum(row.shifted for row in loads)),
        "requests/s": f"{served:.0f}",
        "texts/s of the pipeline alone": f"{alone:.0f}",
        "quotient": f"{served / alone:.2f}",
        "texts a batch": f"{batch:.0f}",
        "median, 99th percentile (ms)": (
            f"{1000 * latencies[len(latencies) // 2]:.0f}, {1000 * latencies[int(0.99 * len(latencies))]:.0f}"
        ),
        "MB before, after each turn": ", ".join(f"{value:.0f}" for value in (memory[0], *memory[1])),
    }


def read_texts(corpus: Path, n: int) -> list[str]:
    """Test sentences of all languages in turns."""
    from spacy.vocab import Vocab

    from spacy_xner.corpus.docs import read_docs
    from spacy_xner.corpus.names import find_files

    groups = find_files(corpus, "test", []).values()
    files = [list(read_docs(path).get_docs(Vocab())) for group in groups for path in group]
    texts = [docs[i].text for i in range(max(map(len, files))) for docs in files if i < len(docs)]
    return texts[:n]


def entities_of(doc: Any) -> list[tuple[int, int, str, float]]:
    """Entities of a document by characters, with their probabilities."""
    return [(ent.start_char, ent.end_char, ent.label_, ent._.score or 0.0) for ent in doc.ents]


class Service:
    """The command in a process of its own."""

    def __init__(self, pipeline: Path, batch_size: int) -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port = free.getsockname()[1]
        self._command = [sys.executable, "-m", "spacy", "xner", "serve", str(pipeline)]
        self._command += ["--port", str(self.port), "--batch-size", str(batch_size)]

    def __enter__(self) -> "Service":
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                self.get("/health")
                return self
            except OSError:
                if self._process.poll() is not None:
                    raise
                time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def get(self, path: str) -> str:
        """Read a page of the service."""
        import urllib.request

        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=30) as answer:
            return answer.read().decode()

    def memory(self) -> float:
        """Resident memory in MB."""
        return memory("VmRSS", self._process.pid)

    def mean_batch(self) -> float:
        """Texts that were read together, on average."""
        values = dict(line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line[0] != "#")
        return float(values["xner_texts_total"]) / float(values["xner_batches_total"])


async def load(
    port: int, turn: list[int], texts: list[str], expected: list[list[tuple[int, int, str, float]]], n: int
) -> Load:
    """Let `n` clients ask for the texts of a turn."""
    waiting = iter(turn)
    latencies: list[float] = []
    counts = {"wrong": 0, "shifted": 0, "lost": 0}

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for i in waiting:
            start = time.perf_counter()
            answer = await ask(reader, writer, texts[i])
            latencies.append(time.perf_counter() - start)
            if answer is None:
                counts["lost"] += 1
                continue
            counts["wrong"] += answer["text"] != texts[i] or places(answer) != [
                row[:3] for row in expected[i]
            ]
            scores = [ent["score"] or 0.0 for ent in answer["ents"]]
            rows = zip(scores, expected[i], strict=False)
            counts["shifted"] += any(abs(score - row[3]) > TOLERANCE for score, row in rows)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n)))
    return Load(time.perf_counter() - start, latencies, **counts)


def places(answer: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Entities of an answer without their probabilities."""
    return [(ent["start"], ent["end"], ent["label"]) for ent in answer["ents"]]


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> dict[str, Any] | None:
    """Send a request. RETURNS: The result; None for any answer but 200."""
    body = json.dumps({"text": text}).encode()
    writer.write(HEAD.format(host=HOST, n=len(body)).encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    content = await reader.readexactly(length)
    return json.loads(content)["results"][0] if b" 200 " in head.split(b"\r\n")[0] else None


if __name__ == "__main__":
    typer.run(main)
