"""Zero-shot runs of the BiLSTM-CRF, each of its parts switched off in turn."""

import shutil
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from wasabi import msg

from spacy_xner.corpus.names import find_files
from spacy_xner.files import fingerprint, write_json
from spacy_xner.training import steps_per_epoch, train_curve, whole_epochs

from common import split_names
from runs import PARTS, augment, count_sentences, reader, text_steps, unfinished

app = typer.Typer(add_completion=False)


class Variant(NamedTuple):
    """The model with or without a part.

    vectors: Which pipeline of the folder, "{target}" and "{source}" standing for the languages.
    translated: Also learns from the source's sentences in the target's words. shuffled: All sentences in
    another order. tied: One set of weights for both directions, and a layer before the head. again: From its
    best epoch as many epochs again. augmented: In these it also learns from its own labels of the target's
    text. supervised: Learns from the target's labels, and from no others.
    """

    vectors: str = "{target}"
    translated: bool = False
    romanise: bool = True
    shuffled: bool = False
    use_vectors: bool = True
    use_characters: bool = True
    dense: bool = False
    tied: bool = False
    again: bool = False
    augmented: bool = False
    supervised: bool = False


# Tables 2 and 3 of Huang et al. 2019, and each of the paper's three bridges between languages by itself.
TRANSLATION = {
    "full": Variant(translated=True),
    "source vectors": Variant(translated=True, vectors="{source}"),
    "no translation": Variant(),
    "no romanisation": Variant(translated=True, romanise=False),
    "shuffled": Variant(translated=True, shuffled=True),
    "word-only": Variant(translated=True, use_characters=False),
    "char-only": Variant(translated=True, use_vectors=False),
}
# Tables 2, 3 and 4 of Bari et al. 2020.
ZERO_RESOURCE = {
    "supervised": Variant(dense=True, supervised=True),
    "unmapped no characters": Variant(dense=True, vectors="{target}.unmapped", use_characters=False),
    "unmapped": Variant(dense=True, vectors="{target}.unmapped"),
    "random no characters": Variant(dense=True, vectors="{target}.random", use_characters=False),
    "random": Variant(dense=True, vectors="{target}.random"),
    "cross-word no characters": Variant(dense=True, use_characters=False),
    "cross-word": Variant(dense=True),
    "cross-shared": Variant(dense=True, tied=True),
    "cross-augmented": Variant(dense=True, tied=True, again=True, augmented=True),
    # What of the last one is more time.
    "cross-shared again": Variant(dense=True, tied=True, again=True),
}
VARIANTS = TRANSLATION | ZERO_RESOURCE
# Of whose pipelines the first seed's is kept.
KEPT = {"full", "cross-augmented"}


class Run(NamedTuple):
    """One training."""

    target: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its result file."""
        return f"{self.target}.{self.variant.replace(' ', '-')}-seed{self.seed}"


@app.command()
def main(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of {lang}-{source}-{split}.spacy, translations among them.")
    ],
    vectors: Annotated[
        Path, typer.Argument(help="Folder of merged pipelines: one a target, and one named like the source.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the runs; finished ones are kept.")],
    targets: Annotated[str, typer.Option(help="Target languages.")],
    language: Annotated[str, typer.Option(help="Language with labels.")] = "en",
    source: Annotated[str, typer.Option(help="Corpus, as in the file names.")] = "wikiann",
    variants: Annotated[
        str, typer.Option(help=f"Comma-separated. For want of a dictionary: {', '.join(ZERO_RESOURCE)}.")
    ] = ",".join(TRANSLATION),
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 3,
    limit: Annotated[int, typer.Option(help="Training sentences a file; 0 takes all.")] = 2000,
    dev_limit: Annotated[int, typer.Option(help="Dev sentences a language; 0 takes all.")] = 300,
    test_limit: Annotated[int, typer.Option(help="Test sentences a language; 0 takes all.")] = 500,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Sentences a step.")] = 32,
    learn_rate: Annotated[float, typer.Option(help="Of the first epoch.")] = 0.3,
    decay: Annotated[float, typer.Option(help="How fast it falls.")] = 0.05,
    hidden: Annotated[int, typer.Option(help="Width of the word LSTM and direction.")] = 100,
    characters: Annotated[int, typer.Option(help="Width of characters and of their LSTM.")] = 100,
    scheme: Annotated[str, typer.Option(help="Tags of the output layer: BIOES or IOB2.")] = "BIOES",
    floor: Annotated[float, typer.Option(help="The learning rate falls no lower.")] = 0.0,
    averages: Annotated[
        bool, typer.Option(help="Score and keep running averages of the weights; the papers have none.")
    ] = False,
    refresh_every: Annotated[int, typer.Option(help="Batches until a newer teacher (cross-augmented).")] = 60,
    lower: Annotated[bool, typer.Option(help="Read characters in lower case, as the paper does.")] = True,
    config: Annotated[Path, typer.Option(help="Training config.")] = Path("configs/bilstm.cfg"),
    keep: Annotated[
        Path | None, typer.Option(help=f"Folder for the pipelines of {' and '.join(sorted(KEPT))}.")
    ] = None,
    gpu: Annotated[int, typer.Option(help="GPU id, -1 for the CPU.")] = -1,
) -> None:
    """Train every run that has no result yet, and score every epoch on both languages' dev and test sets.

    Start the command several times to share the work among processes.
    """
    unknown = sorted(set(split_names(variants)) - set(VARIANTS))
    if unknown:
        msg.fail(f"Variants {unknown}: expected some of {', '.join(VARIANTS)}", exits=1)
    settings = {
        "language": language, "source": source, "vectors": vectors.name, "limit": limit,
        "dev_limit": dev_limit, "test_limit": test_limit, "epochs": epochs, "batch_size": batch_size,
        "learn_rate": learn_rate, "decay": decay, "hidden": hidden, "lower": lower,
        "refresh_every": refresh_every, "characters": characters, "scheme": scheme, "floor": floor,
        "use_averages": averages,
    }  # fmt: skip
    plan = [
        Run(target, variant, seed)
        for seed in range(seeds)
        for target in split_names(targets)
        for variant in split_names(variants)
    ]
    if keep is not None and len(KEPT & set(split_names(variants))) > 1:
        msg.fail(f"--keep has one place a target: give one of {', '.join(sorted(KEPT))} at a time", exits=1)
    missing = sorted({str(path) for run in plan if not (path := vectors_of(run, vectors, language)).is_dir()})
    if missing:
        msg.fail(f"No merged vectors in {', '.join(missing)}: `spacy xner vectors merge` makes them", exits=1)
    write_json(out / PARTS, {"language": language})

    def settings_of(run: Run) -> dict[str, Any]:
        return {**settings, "made_of": made_of(run, corpus, vectors, settings)}

    def kept_of(run: Run) -> Path | None:
        return keep / run.target if keep is not None and run.variant in KEPT and run.seed == 0 else None

    for run, path, own in unfinished(plan, out, settings_of, kept_of):
        train_run(run, corpus, vectors, config, path, own, kept_of(run), gpu)


def vectors_of(run: Run, vectors: Path, language: str) -> Path:
    """The merged pipeline whose vectors a run reads."""
    return vectors / VARIANTS[run.variant].vectors.format(source=language, target=run.target)


def labels_of(run: Run, settings: dict[str, Any]) -> tuple[str, list[str]]:
    """The language and the corpora that a run has labels of."""
    variant, source = VARIANTS[run.variant], settings["source"]
    sources = [source, f"{source}.{run.target}"] if variant.translated else [source]
    if variant.shuffled:
        sources = [f"{name}.shuffled" for name in sources]
    return (run.target if variant.supervised else settings["language"]), sources


def made_of(run: Run, corpus: Path, vectors: Path, settings: dict[str, Any]) -> dict[str, str]:
    """What is in the vectors and the labels of a run: new ones by the same names make another run."""
    language, sources = labels_of(run, settings)
    table = vectors_of(run, vectors, settings["language"]) / "vocab" / "vectors"
    files = [table, *find_files(corpus, "train", [language], sources)[language]]
    return {path.stem: fingerprint(path) for path in files}


def train_run(
    run: Run,
    corpus: Path,
    vectors: Path,
    config: Path,
    path: Path,
    settings: dict[str, Any],
    kept: Path | None,
    gpu: int,
) -> None:
    """Train one run and write its curve, at last, to `path`. kept: Where its pipeline goes, if anywhere."""
    variant = VARIANTS[run.variant]
    source = settings["source"]
    language, sources = labels_of(run, settings)
    n_sentences = count_sentences(corpus, [language], settings["limit"], sources)
    steps = steps_per_epoch(n_sentences, settings["batch_size"])
    both = list(dict.fromkeys((language, run.target)))
    overrides = {
        "paths.corpus": str(corpus),
        "paths.vectors": str(vectors_of(run, vectors, settings["language"])),
        "vars.languages": [language],
        "corpora.train.sources": sources,
        "corpora.dev.sources": [source],
        **{
            f"vars.{key}": settings[key]
            for key in (
                "limit",
                "dev_limit",
                "batch_size",
                "learn_rate",
                "decay",
                "floor",
                "hidden",
                "lower",
                "scheme",
                "use_averages",
            )
        },
        "vars.character_width": settings["characters"],
        "vars.character_hidden": settings["characters"],
        "vars.romanise": variant.romanise,
        "vars.use_vectors": variant.use_vectors,
        "vars.use_characters": variant.use_characters,
        "vars.tie": variant.tied,
        "vars.dense": settings["hidden"] if variant.dense else 0,
        **whole_epochs(settings["epochs"], steps),
        # A corpus a language, so that scores by length are the language's own.
        "training.logger.watch": {
            f"{split} {lang}": reader(corpus, split, [lang], settings[f"{split}_limit"], [source])
            for split, lang in product(("dev", "test"), both)
        },
        "system.seed": run.seed,
    }
    source_model, before = path.with_suffix(".source"), 0.0
    if variant.again:
        before, _ = train_curve(config, path.with_suffix(".source.json"), overrides, gpu, source_model)
        overrides["paths.weights"] = str(source_model)
    if variant.augmented:
        n_texts = count_sentences(corpus, [run.target], settings["limit"], [source])
        texts = text_steps(steps, n_texts, settings["batch_size"])
        steps += texts
        overrides |= {
            **augment(language, run.target, refresh_every=min(texts, settings["refresh_every"])),
            **whole_epochs(settings["epochs"], steps),
        }
    # The source's dev set cannot see what is learnt of the target, and would keep the teacher.
    which = "model-last" if variant.augmented else "model-best"
    seconds, curve = train_curve(config, path, overrides, gpu, kept, which)
    shutil.rmtree(source_model, ignore_errors=True)
    result = {
        **run._asdict(),
        "languages": [language],
        "targets": [run.target],
        "settings": settings,
        "sentences": n_sentences,
        "parameters": curve[-1]["parameters"],
        "train_seconds": before + seconds,
        "epochs": [describe_epoch(line, both) for line in curve],
    }
    write_json(path, result)


def describe_epoch(line: dict[str, Any], languages: list[str]) -> dict[str, Any]:
    """What the tables need of an evaluation."""
    watch = line["watch"]
    return {
        "source_dev": line["score"],
        "languages": {
            lang: {
                "dev": watch[f"dev {lang}"]["ents_f"],
                "test": watch[f"test {lang}"]["ents_f"],
                "lengths": {n: s["f"] for n, s in watch[f"test {lang}"]["ents_per_length"].items()},
            }
            for lang in languages
        },
    }


if __name__ == "__main__":
    app()
