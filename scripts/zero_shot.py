"""Zero-shot transfer: train on some languages, watch others, with auxiliary objectives on their text."""

from collections.abc import Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import spacy
import typer
from wasabi import msg

from spacy_xner.corpus.names import find_files
from spacy_xner.files import write_json
from spacy_xner.training import steps_per_epoch, train_curve, whole_epochs
from spacy_xner.transformer.checkpoint import describe, load_checkpoint
from spacy_xner.transformer.risk import TransferRisk, describe_risk
from spacy_xner.transformer.wordpieces import split_texts

from common import split_names
from runs import (
    count_sentences,
    learn_from_text,
    read_sentences,
    reader,
    run_overrides,
    text_steps,
    unfinished,
)

NONE = "ML"
OBJECTIVES = {
    "LI": ("language_id", {"@misc": "spacy_xner.language_id.v1"}),
    "CL": ("cloze", {"@misc": "spacy_xner.cloze.v1"}),
    "PC": ("predictive_cloze", {"@misc": "spacy_xner.predictive_cloze.v1"}),
    "ST": ("self_training", {"@misc": "spacy_xner.augmented_tuning.v1", "target_reader": False}),
}


class Protocol(str, Enum):
    """Which languages a run is trained on and which it is tested on."""

    single_source = "single-source"
    leave_one_out = "leave-one-out"


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy files.")],
    out: Annotated[Path, typer.Argument(help="Folder of the runs; finished ones are kept.")],
    languages: Annotated[str, typer.Option(help="Languages with labels, comma-separated.")] = "en",
    targets: Annotated[str, typer.Option(help="Languages whose labels are for scoring only.")] = "",
    protocol: Annotated[
        Protocol,
        typer.Option(help="All of --languages to all --targets, or each of --languages without the others."),
    ] = Protocol.single_source,
    objectives: Annotated[
        str, typer.Option(help="ML is none; LI, CL, PC, ST and sums such as CL+LI, comma-separated.")
    ] = "ML,LI,CL,PC,CL+LI,PC+LI",
    frozen: Annotated[str, typer.Option(help="Numbers of frozen layers.")] = "-1,3,6",
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 3,
    weight: Annotated[float, typer.Option(help="Of every objective's loss.")] = 1.0,
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/transformer.cfg"),
    source: Annotated[str, typer.Option(help="Corpus, as in the file names; empty for all.")] = "",
    encoder: Annotated[str, typer.Option(help="Checkpoint.")] = "multilingual-e5-small",
    limit: Annotated[int, typer.Option(help="Training sentences a file; 0 takes all.")] = 2000,
    dev_limit: Annotated[int, typer.Option(help="Dev sentences a file.")] = 150,
    test_limit: Annotated[int, typer.Option(help="Test sentences a file.")] = 500,
    epochs: Annotated[int, typer.Option(help="Epochs over the labelled sentences.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Sentences a step.")] = 32,
    learn_rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-4,
    mixed_precision: Annotated[bool, typer.Option(help="Half precision.")] = True,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Train every run that has no result yet, and score every epoch on the targets' dev and test sets.

    The training text of the targets is the unlabelled text of the objectives. No epoch is selected here:
    the tables of the report show what selection on source dev, on target dev and without labels gives.
    Start the command several times to share the work among processes.
    """
    if "ST" in objectives and epochs < 2:
        msg.fail("ST needs --epochs 2 or more: one of labels, and one of its own", exits=1)
    sources = split_names(source)
    plan = list(plan_runs(languages.split(","), targets, protocol, objectives, weight, frozen, seeds))
    settings = {
        "encoder": encoder, "source": source, "limit": limit, "dev_limit": dev_limit,
        "test_limit": test_limit, "epochs": epochs, "batch_size": batch_size, "learn_rate": learn_rate,
    }  # fmt: skip
    risks = compare_languages(corpus, plan, sources, encoder, limit)
    write_json(out / "risk.json", {name: risk._asdict() for name, risk in risks.items()})
    show_risks(risks)
    for run, path, own in unfinished(plan, out, lambda run: settings):
        train_run(run, corpus, sources, config, path, own, mixed_precision, gpu)


class Run(NamedTuple):
    """One training.

    languages, targets: With labels and without. objectives: As the paper names them. weight: Of each of them.
    """

    languages: list[str]
    targets: list[str]
    objectives: str
    weight: float
    n_frozen_layers: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its result file."""
        transfer = f"{'+'.join(self.languages)}-to-{'+'.join(self.targets)}"
        weight = f"-weight{self.weight:g}" if self.objectives != NONE else ""
        return f"{transfer}.{self.objectives}{weight}-frozen{self.n_frozen_layers}-seed{self.seed}"


def plan_runs(
    languages: list[str],
    targets: str,
    protocol: Protocol,
    objectives: str,
    weight: float,
    frozen: str,
    n_seeds: int,
) -> Iterator[Run]:
    """All objectives with all numbers of frozen layers; all runs of one seed before the next."""
    if protocol is Protocol.leave_one_out:
        transfers = [([lang for lang in languages if lang != held_out], [held_out]) for held_out in languages]
    else:
        transfers = [(languages, targets.split(","))]
    unknown = {name for names in objectives.split(",") for name in names.split("+")} - {NONE, *OBJECTIVES}
    if unknown:
        msg.fail(f"Objectives {sorted(unknown)}: expected ML, {', '.join(OBJECTIVES)} or sums", exits=1)
    if protocol is Protocol.leave_one_out and "LI" in objectives:
        msg.fail("LI needs unlabelled text in two languages, leave-one-out has one", exits=1)
    if not all(train and all(target) for train, target in transfers):
        msg.fail("Give --targets, or at least two --languages for leave-one-out", exits=1)
    for seed in range(n_seeds):
        for train, target in transfers:
            for names in objectives.split(","):
                for n_frozen in frozen.split(","):
                    own_weight = 0.0 if names == NONE else weight
                    yield Run(train, target, names, own_weight, int(n_frozen), seed)


def train_run(
    run: Run,
    corpus: Path,
    sources: list[str],
    config: Path,
    path: Path,
    settings: dict[str, Any],
    mixed_precision: bool,
    gpu: int,
) -> None:
    """Train one run and write its curve, at last, to `path`."""
    chosen = dict(OBJECTIVES[name] for name in run.objectives.split("+") if name in OBJECTIVES)
    n_sentences = count_sentences(corpus, run.languages, settings["limit"], sources)
    # An epoch is a pass over the labels; each of their minibatches takes an unlabelled one along, if any.
    steps = steps_per_epoch(n_sentences, settings["batch_size"])
    n_before = 0
    if chosen:
        n_texts = count_sentences(corpus, run.targets, settings["limit"], sources)
        texts = text_steps(steps, n_texts, settings["batch_size"])
        steps += texts
        if "self_training" in chosen:
            # The tagger is its own teacher after half of the epochs, and a newer one with every epoch.
            n_before = settings["epochs"] // 2
            schedule = {"start_after": texts * n_before, "refresh_every": texts}
            chosen["self_training"] = {**chosen["self_training"], **schedule}
    watched = [*run.languages, *run.targets]
    overrides = {
        **run_overrides(
            corpus, path.with_suffix(".jsonl"), settings, languages=run.languages, sources=sources,
            n_frozen_layers=run.n_frozen_layers, seed=run.seed, mixed_precision=mixed_precision,
        ),
        **whole_epochs(settings["epochs"], steps),
        "training.logger.watch": {
            split: reader(corpus, split, watched, settings[f"{split}_limit"], sources)
            for split in ("dev", "test")
        },
    }  # fmt: skip
    if chosen:
        weighted = {name: {**objective, "weight": run.weight} for name, objective in chosen.items()}
        overrides |= learn_from_text(run.languages, run.targets, weighted)
    seconds, curve = train_curve(config, path, overrides, gpu)
    result = {
        **run._asdict(),
        "settings": settings,
        "sentences": n_sentences,
        "train_seconds": seconds,
        # Those before a tagger teaches itself are none of what is chosen from; the curve has them.
        "epochs": [describe_epoch(line, watched) for line in curve[n_before:]],
    }
    write_json(path, result)


def describe_epoch(line: dict[str, Any], languages: list[str]) -> dict[str, Any]:
    """What the tables need of an evaluation."""
    watch = line["watch"]
    return {
        "source_dev": line["score"],
        "losses": line["losses"],
        "languages": {
            lang: {
                "dev": watch["dev"]["ents_per_language"][lang]["f"],
                "test": watch["test"]["ents_per_language"][lang]["f"],
                **watch["dev"]["unlabelled"][lang],
            }
            for lang in languages
        },
    }


def compare_languages(
    corpus: Path, plan: list[Run], sources: list[str], encoder: str, limit: int
) -> dict[str, TransferRisk]:
    """Describe the risk of every transfer of a plan by training text, labels unseen."""
    checkpoint, tokenizer = load_checkpoint(encoder)
    unknown_id = describe(checkpoint, tokenizer)["special_ids"].get("unk")
    split = partial(split_texts, tokenizer.backend_tokenizer)
    vocab = spacy.blank("xx").vocab

    def read(languages: list[str]) -> list[spacy.tokens.Doc]:
        files = find_files(corpus, "train", languages, sources)
        paths = [path for group in files.values() for path in group]
        return list(read_sentences(paths, vocab, limit))

    transfers = {(tuple(run.languages), target) for run in plan for target in run.targets}
    return {
        f"{'+'.join(languages)} to {target}": describe_risk(
            read([target]), read(list(languages)), split, unknown_id
        )
        for languages, target in sorted(transfers)
    }


def show_risks(risks: dict[str, TransferRisk]) -> None:
    """Print the table, the riskiest transfers first."""
    rows = [
        (name, f"{risk.fertility:.2f}", *(f"{100 * share:.1f} %" for share in risk[1:]))
        for name, risk in sorted(risks.items(), key=lambda item: (item[1].script_overlap, -item[1].unseen))
    ]
    header = ("transfer", "wordpieces a token", "unknown", "not in the source", "letters in its scripts")
    msg.table(rows, header=header, divider=True)


if __name__ == "__main__":
    typer.run(main)
