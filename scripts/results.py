"""Result files of experiments, and one long table of all of them.

A result file has counts and scores only, no sentence of any corpus: axes and settings of the run; `scores`, a
row a language, source and label; `curve`, an entry an evaluation; `counts` of right, predicted and gold
entities by sentence, packed; sentences, steps, seconds, machine, versions and commit.
"""

import base64
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy
import pandas

from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_json, write_text
from spacy_xner.runs import choose
from spacy_xner.significance import Counts

# The file beside the results of an experiment: its kind, axes and settings.
DESCRIPTION = "experiment.json"
# The label of a score over all labels.
ALL = "all"
Result = dict[str, Any]
# A million sentences; more is no test set.
_LARGEST = 3_000_000
_HEAD = ("experiment", "kind", "axes", "settings")


def write_result(path: Path, content: Result) -> None:
    """Write a JSON file with a line a key and a line an element of lists, for people and for git."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict | list):
            shown = "[\n  " + ",\n  ".join(map(_dump, value)) + "\n ]"
        else:
            shown = _dump(value)
        lines.append(f" {json.dumps(key)}: {shown}")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _dump(value: Any) -> str:
    return json.dumps(value, default=float, ensure_ascii=False)


def read_results(folder: Path) -> list[Result]:
    """Read the result of every finished run of an experiment. RAISES: XNER806."""
    return [_read_result(path) for path in sorted(folder.glob("*.json")) if path.name != DESCRIPTION]


def _read_result(path: Path) -> Result:
    try:
        result: Result = read_json(path)
        complete = all(key in result for key in _HEAD) and isinstance(result["axes"], dict)
    except (ValueError, TypeError) as error:
        raise XnerError(Errors.XNER806.format(path=path)) from error
    if not complete:
        raise XnerError(Errors.XNER806.format(path=path))
    return result


def read_description(folder: Path) -> Result:
    """Read kind, axes and settings of an experiment. RAISES: XNER815."""
    try:
        described: Result = read_json(folder / DESCRIPTION)
        return {key: described[key] for key in ("name", "kind", "axes", "settings")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise XnerError(Errors.XNER815.format(path=folder / DESCRIPTION, reason=error)) from error


def score_rows(scores: dict[str, Any], source: str = "", split: str = "test") -> list[Result]:
    """Rows of a result from the scores of a pipeline: every language, and every label in it."""
    per_label = scores["ents_per_language_type"]
    rows = [(language, ALL, score) for language, score in scores["ents_per_language"].items()]
    rows += [(*key.split(":", 1), score) for key, score in per_label.items()]
    return [
        {
            "split": split, "language": language, "source": source, "label": label,
            **{key: round(float(score[key]), 6) for key in "prf"},
        }
        for language, label, score in rows
    ]  # fmt: skip


def score_corpora(scores: dict[str, Any]) -> list[Result]:
    """Rows of a result from the scores of a pipeline: every corpus, and every language in it.

    The rows of a whole corpus have an empty language.
    """
    rows = [(corpus, "", score) for corpus, score in scores["ents_per_corpus"].items()]
    rows += [(*key.rsplit(":", 1), score) for key, score in scores["ents_per_corpus_language"].items()]
    return [
        {
            "split": "test", "language": language, "source": corpus, "label": ALL,
            **{key: round(float(score[key]), 6) for key in ("p", "r", "f", "support")},
        }
        for corpus, language, score in rows
    ]  # fmt: skip


def pack_counts(counts: dict[str, list[tuple[int, int, int]]]) -> dict[str, str]:
    """Pack right, predicted and gold entities by sentence; numbers above 255 count as 255."""
    packed = {}
    for language, rows in counts.items():
        numbers = numpy.minimum(numpy.array(rows, dtype="int64").reshape(-1, 3), 255).astype("uint8")
        packed[language] = base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")
    return packed


def unpack_counts(packed: str) -> Counts:
    """Unpack what `pack_counts` packed. Shape: (n_sentences, 3).

    RAISES: XNER815 for other text, and for more than a million sentences.
    """
    try:
        reader = zlib.decompressobj()
        content = reader.decompress(base64.b64decode(packed, validate=True), _LARGEST)
        if not reader.eof or len(content) % 3:
            raise ValueError("no rows of three numbers")
    except (ValueError, zlib.error) as error:
        raise XnerError(Errors.XNER815.format(path="packed counts", reason=error)) from error
    return numpy.frombuffer(content, dtype="uint8").reshape(-1, 3).astype("float64")


def _same_density(epoch: Result, sources: list[str], language: str) -> float:
    """How close a language's predicted entities a sentence are to the source's, as a log ratio."""
    source = mean(epoch["languages"][lang]["density"] for lang in sources)
    return -abs(math.log((epoch["languages"][language]["density"] + 1e-3) / (source + 1e-3)))


Criterion = Callable[[Result, list[str], str], float]
# The chosen evaluation is the one with the greatest value, the last of equals. "target dev" needs labels of
# the target, "target test" is what nobody can have, the others need none.
CRITERIA: dict[str, Criterion] = {
    "source dev": lambda epoch, sources, language: epoch["source_dev"],
    "last epoch": lambda epoch, sources, language: 0.0,
    "confidence": lambda epoch, sources, language: epoch["languages"][language]["confidence"],
    "agreement": lambda epoch, sources, language: epoch["languages"][language]["agreement"] or 0.0,
    "density": _same_density,
    "target dev": lambda epoch, sources, language: epoch["languages"][language]["dev"],
    "target test": lambda epoch, sources, language: epoch["languages"][language]["test"],
}


def settings_of(result: Result) -> dict[str, Any]:
    """All settings of a run, those of its axes among them."""
    return {**result["settings"], **result["axes"]}


def long_table(results: Iterable[Result]) -> pandas.DataFrame:
    """One row a score: experiment, run, its axes, language, source, label, selection, F1 in percent.

    `selection` is the criterion that chose the evaluation, empty where the run itself chose its weights;
    `value` is the criterion's value there. `set` names language and source.
    """
    rows = [{**_head(result), **row} for result in results for row in [*_scored(result), *_selected(result)]]
    return pandas.DataFrame(rows)


def _head(result: Result) -> Result:
    """The columns that all rows of a run share; lists and null become text, which rows can be grouped by."""
    axes = {
        axis: "+".join(map(str, value)) if isinstance(value, list) else "" if value is None else value
        for axis, value in settings_of(result).items()
    }
    about = {key: result.get(key, 0) for key in ("steps", "sentences", "parameters")}
    return {**axes, **about, "experiment": result["experiment"], "run": _dump(result["axes"])}


def _scored(result: Result) -> Iterator[Result]:
    for row in result.get("scores", ()):
        name = f"{row['language']} {row['source']}".strip()
        yield {**row, "f": 100 * row["f"], "set": name, "selection": "", "value": 0.0}


def _selected(result: Result) -> Iterator[Result]:
    """The test score of every target at the evaluation that each criterion chooses."""
    curve = result.get("curve") or []
    for language in result.get("targets", ()):
        measured = curve[0]["languages"][language]
        for name, measure in CRITERIA.items():
            if name in ("confidence", "agreement", "density") and name not in measured:
                continue
            values = [measure(epoch, result["languages"], language) for epoch in curve]
            chosen = curve[i := choose(values)]["languages"][language]
            head = {"split": "test", "language": language, "source": "", "set": language}
            selection = {"selection": name, "value": values[i], "last": values[-1]}
            yield {**head, "label": ALL, "f": 100 * chosen["test"], **selection}
            for length, f in chosen.get("lengths", {}).items():
                yield {**head, "label": f"{length} words", "f": 100 * f, **selection}
