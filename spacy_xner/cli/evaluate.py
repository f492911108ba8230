"""`spacy xner evaluate`: score a pipeline on test files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Corpus, Gpu, Languages, Limit, Model, Source, split_names

if TYPE_CHECKING:
    from spacy_xner.evaluation import Evaluation


@verb("evaluate")
def evaluate_cli(
    model: Model,
    corpus: Corpus,
    out: Annotated[Path, typer.Argument(help="JSON file for the scores.")],
    split: Annotated[str, typer.Option(help="Split of the files to score on.")] = "test",
    languages: Languages = "",
    source: Source = "",
    limit: Limit = 0,
    n_examples: Annotated[int, typer.Option(help="Examples a language in the report.")] = 2,
    gpu: Gpu = -1,
) -> None:
    """Write scores overall, by language, label, entity length and corpus, with words a second.

    EXAMPLE: python -m spacy xner evaluate training/mine/model-best corpus/mine metrics/mine.json
    """
    import spacy
    from spacy.cli._util import setup_gpu

    from spacy_xner.evaluation import evaluate_pipeline, read_examples
    from spacy_xner.files import write_json

    setup_gpu(gpu)
    nlp = spacy.load(model)
    examples = read_examples(nlp, corpus, split, split_names(languages), limit, split_names(source))
    evaluation = evaluate_pipeline(nlp, examples, n_examples)
    write_json(out, evaluation._asdict())
    show(evaluation, out)


def show(evaluation: "Evaluation", out: Path) -> None:
    """Print the tables of entities and languages."""
    scores, confusion = evaluation.scores, evaluation.confusion
    if scores.get("ents_f") is not None:
        groups = {"language": scores["ents_per_language"], "corpus": scores.get("ents_per_corpus") or {}}
        for kind, group in groups.items():
            rows = [
                (name, *(f"{100 * s[key]:.1f}" for key in "prf"), int(s["support"]))
                for name, s in group.items()
            ]
            if rows:
                msg.table(rows, header=(kind, "P", "R", "F", "entities"), divider=True)
        msg.good(f"F1 {100 * scores['ents_f']:.1f}, written to {out}")
    if confusion is not None:
        names = confusion["languages"]
        table = [(name, *row) for name, row in zip(names, confusion["counts"], strict=True)]
        msg.table(table, header=("gold / found", *names), divider=True)
        msg.good(f"Language accuracy {100 * scores['language_acc']:.1f}, written to {out}")
    if "routing_acc" in scores:
        msg.good(f"Routed to the cluster of their language: {100 * scores['routing_acc']:.1f} %")
