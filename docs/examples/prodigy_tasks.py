"""Tasks for Prodigy's `ner.manual` and `ner.correct` from the JSON lines of `annotate`.

Texts come first whose least probable entity has the lowest probability: they teach the most.

    python -m spacy xner annotate xx_xner texts.jsonl entities.jsonl
    python docs/examples/prodigy_tasks.py entities.jsonl tasks.jsonl
    prodigy ner.manual names blank:xx tasks.jsonl --label PER,LOC,ORG
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def make_tasks(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn rows of `annotate` into tasks, the least sure ones first."""
    tasks = []
    for row in rows:
        scores = [ent["score"] for ent in row["ents"] if ent["score"] is not None]
        spans = [{key: ent[key] for key in ("start", "end", "label")} for ent in row["ents"]]
        meta = {"language": row["language"], "score": min(scores, default=1.0)}
        tasks.append({"text": row["text"], "spans": spans, "meta": meta})
    return sorted(tasks, key=lambda task: task["meta"]["score"])


def write_tasks(source: Path, out: Path) -> None:
    """Convert a file."""
    with source.open(encoding="utf-8") as lines:
        tasks = make_tasks(json.loads(line) for line in lines)
    text = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_tasks(Path(sys.argv[1]), Path(sys.argv[2]))
