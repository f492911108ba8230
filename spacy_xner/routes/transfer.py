"""Transfer: labels in some languages, text in others, one pipeline for all of them.

The first tagger learns the labels, with its lowest layers frozen; its weights are the mean of all epochs from
the second on, so that no epoch is selected. Then it is the fixed teacher of the next one, which begins afresh
and learns the labels and the teacher's probabilities on the targets' text. Nothing is chosen by a target's
labels.

SOURCE: Moon et al. 2019 (frozen layers); Schmidt et al. 2023, https://arxiv.org/abs/2305.16834 (mean
weights); Wu et al. 2020, https://aclanthology.org/2020.acl-main.581/ (teacher and student).
"""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.cli._util import setup_gpu

from spacy_xner.files import hold, read_json, read_lines, remove_folder, write_json, write_text
from spacy_xner.routes.advice import to_markdown
from spacy_xner.routes.settings import learn_from_text, run_overrides
from spacy_xner.routes.transfer_data import Transfer, find_risks, write_corpus
from spacy_xner.runs import is_done
from spacy_xner.soup import average_pipelines
from spacy_xner.stability import describe_predictions
from spacy_xner.tokenizer import blank_pipeline
from spacy_xner.training import find_config, steps_per_epoch, train_pipeline, whole_epochs
from spacy_xner.transformer.risk import TransferRisk

RESULT, TEACHER, CORPUS, RISKS = "pipeline", "teacher", "corpus", "risks"
RISK_HEADER = ("target", "pieces a token", "unknown", "unseen", "script shared")
HEADER = ("target", "sentences", "entities a sentence", "confidence", "agreement with the teacher")
# Sentences of every target that the report is made of.
N_REPORTED = 500

Announce = Callable[[str], Any]


class Report(NamedTuple):
    """A finished transfer.

    lines: Rows of the table under `HEADER`.
    path: The report as Markdown.
    """

    lines: list[list[str]]
    path: Path


def transfer_languages(
    transfer: Transfer,
    on_stage: Announce = str,
    on_risks: Callable[[list[list[str]]], Any] = len,
) -> Report:
    """Do the stages that are not done yet, and write the report.

    on_stage: Called with the name of a stage before it, or with a word about it if it was done before.
    on_risks: Called with the rows under `RISK_HEADER` before anything is trained.
    RAISES: As `Transfer.check`, `Transfer.check_dictionaries` and `find_risks`; XNER640 if a stage was done
        with other settings, XNER702 if another process is at it.
    """
    transfer.check()
    transfer.check_dictionaries()
    with hold(transfer.out):
        transfer.out.mkdir(parents=True, exist_ok=True)
        rows = tabulate_risks(_look_at_risks(transfer))
        on_risks(rows)
        _do(transfer, CORPUS, on_stage, lambda folder: {"sizes": write_corpus(transfer, folder)})
        teacher = None
        for name in stage_names(transfer.rounds):
            _do(transfer, name, on_stage, partial(_train, transfer, teacher=teacher))
            before, teacher = teacher, transfer.out / name
        return write_report(transfer, rows, before)


def stage_names(rounds: int) -> list[str]:
    """Names of the trainings, in order; the last one makes the pipeline."""
    names = [TEACHER, *(f"round-{i}" for i in range(1, rounds))] if rounds else []
    return [*names, RESULT]


def tabulate_risks(risks: dict[str, TransferRisk]) -> list[list[str]]:
    """Make the rows under `RISK_HEADER`, the riskiest targets first: those with most that was never seen."""
    order = sorted(risks, key=lambda target: -risks[target].unseen)
    return [
        [
            target, f"{risk.fertility:.2f}",
            *(f"{100 * share:.0f} %" for share in (risk.unknown, risk.unseen, risk.script_overlap)),
        ]
        for target, risk in ((target, risks[target]) for target in order)
    ]  # fmt: skip


def _look_at_risks(transfer: Transfer) -> dict[str, TransferRisk]:
    """Read the risks that an earlier start found in the same text, or find them. RAISES: XNER663."""
    path, inputs = transfer.out / f"{RISKS}.json", transfer.risk_inputs
    # A file that somebody has damaged is made anew.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        before = read_json(path)
        if before["inputs"] == inputs:
            return {
                target: TransferRisk(*(float(before["risks"][target][name]) for name in TransferRisk._fields))
                for target in transfer.targets
            }
    risks = find_risks(transfer)
    shown = {target: risk._asdict() for target, risk in risks.items()}
    write_json(path, {"inputs": inputs, "risks": shown})
    return risks


def _do(transfer: Transfer, name: str, on_stage: Announce, build: Callable[[Path], dict[str, Any]]) -> None:
    """Do a stage in a folder beside its place, and move it there when it is whole; its JSON comes last."""
    record, folder = transfer.out / f"{name}.json", transfer.out / name
    if is_done(record, transfer.conditions) and folder.is_dir():
        on_stage(f"{name}: done before")
        return
    on_stage(name)
    part = transfer.out / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        result = build(part)
        remove_folder(folder)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    write_json(record, {"settings": transfer.conditions, **result})


def _train(transfer: Transfer, folder: Path, *, teacher: Path | None) -> dict[str, Any]:
    """Train one tagger, or the mean of several, into the folder of its pipeline.

    RETURNS: The evaluations of the first training on labelled languages.
    """
    if transfer.soup_seeds == 1:
        return _train_once(transfer, folder, teacher, {})
    members = [folder / f"seed-{i}" for i in range(transfer.soup_seeds)]
    curves = []
    for i, member in enumerate(members):
        member.mkdir()
        seeded = replace(transfer, seed=transfer.seed + i)
        head = {"initialize.components.ner.head": str(members[0])} if i else {}
        curves.append(_train_once(seeded, member, teacher, head))
    average_pipelines(members, folder / "mean")
    for item in (folder / "mean").iterdir():
        item.replace(folder / item.name)
    for path in (folder / "mean", *members):
        shutil.rmtree(path)
    return curves[0]


def _train_once(
    transfer: Transfer, folder: Path, teacher: Path | None, further: dict[str, Any]
) -> dict[str, Any]:
    """Train one tagger. further: Overrides of the config."""
    sizes = read_json(transfer.out / f"{CORPUS}.json")["sizes"]
    n_labels = sum(sizes[language] for language in transfer.languages)
    training = folder / "training"
    overrides = {
        **training_overrides(transfer, training, teacher),
        **whole_epochs(transfer.epochs, steps_per_epoch(n_labels, transfer.batch_size)),
        **further,
    }
    train_pipeline(find_config(transfer.config), training, overrides, transfer.gpu)
    curve = read_lines(training / "curves.jsonl")[1:]
    for item in (training / "model-average").iterdir():
        item.replace(folder / item.name)
    shutil.rmtree(training)
    # Nobody else trains in this folder, which is another one when it is whole.
    training.with_name(f".{training.name}.lock").unlink(missing_ok=True)
    return {"epochs": [{"step": line["step"], "source_dev": line["score"]} for line in curve]}


def training_overrides(transfer: Transfer, training: Path, teacher: Path | None) -> dict[str, Any]:
    """Overrides of the config for one training; with a teacher, its probabilities are learnt too."""
    languages, targets = list(transfer.languages), list(transfer.targets)
    settings = {
        "encoder": transfer.encoder, "limit": 0, "dev_limit": transfer.dev_limit,
        "batch_size": transfer.batch_size, "learn_rate": transfer.learn_rate,
    }  # fmt: skip
    overrides = {
        **run_overrides(
            transfer.out / CORPUS, training / "curves.jsonl", settings, languages=languages, sources=[],
            n_frozen_layers=transfer.frozen, seed=transfer.seed, precision=transfer.precision,
        ),
        "vars.head_rate": transfer.head_rate,
        # With one epoch there is no second one for the mean to begin with.
        "vars.first_epoch": min(2, transfer.epochs),
        "paths.dev": str(transfer.corpus),
        "corpora.dev.languages": languages,
        "corpora.dev.sources": list(transfer.sources),
    }  # fmt: skip
    del overrides["paths.curves"]
    if files := transfer.dictionary_files():
        overrides["corpora.train.augmenter"] = {
            "@augmenters": "spacy_xner.code_switching.v1",
            "dictionaries": {target: str(path) for target, path in files.items()},
            "language": transfer.languages[0],
            "seed": transfer.seed,
        }
    if teacher is None:
        return overrides
    objective = {"@misc": "spacy_xner.taught.v1", "teacher": str(teacher), "share": transfer.share}
    return {**overrides, **learn_from_text(languages, targets, {"taught": objective})}


def write_report(transfer: Transfer, risks: Sequence[Sequence[str]], teacher: Path | None) -> Report:
    """Write report.md and report.json: what the pipeline finds in the targets' text. No labels are read."""
    setup_gpu(transfer.gpu, silent=True)
    nlp, blank = spacy.load(transfer.out / RESULT), blank_pipeline()
    wise = spacy.load(teacher) if teacher is not None else None
    languages, texts = [], []
    for target in transfer.targets:
        for doc in islice(transfer.texts(blank, target), N_REPORTED):
            languages.append(target)
            texts.append(doc.text)
    now = list(nlp.pipe(texts))
    before = list(wise.pipe(texts)) if wise is not None else None
    key = next(pipe.spans_key for _, pipe in nlp.pipeline if hasattr(pipe, "spans_key"))
    measured = describe_predictions(now, before, languages, key)
    rows = [
        [
            target, str(languages.count(target)), f"{measured[target]['density']:.2f}",
            f"{measured[target]['confidence']:.3f}", _percent(measured[target]["agreement"]),
        ]
        for target in transfer.targets
    ]  # fmt: skip
    dev = read_json(transfer.out / f"{RESULT}.json")["epochs"][-1]["source_dev"]
    write_json(
        transfer.out / "report.json",
        {"settings": transfer.conditions, "source_dev": dev, "targets": measured},
    )
    path = transfer.out / "report.md"
    write_text(path, _markdown(transfer, dev, risks, rows))
    return Report(rows, path)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} F1"


def _markdown(
    transfer: Transfer, dev: float, risks: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]
) -> str:
    languages = ", ".join(transfer.languages)
    return (
        "\n\n".join(
            [
                "# Transfer",
                f"Labels in {languages}; text in {', '.join(transfer.targets)}. No label of a target was "
                f"read. F1 on the dev sentences of {languages} in the last epoch, before the mean: "
                f"{100 * dev:.1f}.",
                "Risks before training, by text alone; the riskiest target comes first:",
                "\n".join(to_markdown(RISK_HEADER, risks)),
                "What the pipeline finds in the targets' text. Confidence is the mean probability of its "
                "entities; it ranks recipes, and does not say how good one is.",
                "\n".join(to_markdown(HEADER, rows)),
                f"Score it where there are labels: `python -m spacy xner evaluate {transfer.out / RESULT} "
                "CORPUS`",
            ]
        )
        + "\n"
    )
