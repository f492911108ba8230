"""Taggers that a package registry has with their weights, and those trained here, on the same test sentences.

A row is a system on the first WikiAnn test sentences of a language, measured in a process of its own: F1,
words a second of the processor with one thread, megabytes on disk and at the peak. Rows are written as they
are done, and a later run adds its own. A name counts as right if its characters and its label are.

python benchmarks/peers.py WIKIANN --rows natasha:ru,ginza:ja
python benchmarks/peers.py WIKIANN --rows cnn:ru,cnn:ja --minutes 60 --work training/peers
python benchmarks/peers.py WIKIANN --rows xner:ru,xner:ja --minutes 60 --work training/peers
python benchmarks/peers.py WIKIANN --rows pipeline:ru,pipeline:ja --pipeline training/xner
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from wasabi import msg

# Before anything is imported that reads it.
os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")})

SETTINGS = (
    "The first {limit:,} sentences of WikiAnn's test set, one thread; words are the tokens of this package's "
    "tokenizer, which are characters in Japanese. Systems that were trained here learn WikiAnn's first "
    "{train:,} training sentences of the one language, for as many minutes of the processor as the row says. "
    "MB are the files that a system needs beside its libraries."
)
HEADER = ("language", "system", "F1", "PER", "LOC", "ORG", "words/s", "MB", "peak MB", "weights")
LABELS = ("PER", "LOC", "ORG")
N_TRAIN, N_DEV = 20_000, 500
NOTE = (
    "natasha learnt news, and GiNZA other genres with some 200 types of its own: neither was made for "
    "WikiAnn's titles, whose annotation differs. A Russian person is `surname, first name` in many titles, "
    "which is one entity there."
)
# GiNZA's own table leads from its 200 types to those of OntoNotes.
ONTONOTES = {"PERSON": "PER", "GPE": "LOC", "LOC": "LOC", "FAC": "LOC", "ORG": "ORG"}

Entity = tuple[int, int, str]


class System(NamedTuple):
    """A system in the process that measures it.

    find: The entities of texts.
    folders: Folders and files that it needs.
    weights: The origin of its weights, and their licence, for the table.
    """

    find: Callable[[list[str]], list[set[Entity]]]
    folders: list[Path]
    weights: str


def main(
    wikiann: Annotated[Path, typer.Argument(help="Folder {lang}/{split}.tsv of WikiAnn.")],
    rows: Annotated[str, typer.Option(help="Comma-separated SYSTEM:LANGUAGE.")] = "natasha:ru,ginza:ja",
    work: Annotated[Path, typer.Option(help="Folder for trainings.")] = Path("training/peers"),
    pipeline: Annotated[Path | None, typer.Option(help="Trained pipeline for rows `pipeline:`.")] = None,
    minutes: Annotated[float, typer.Option(help="The processor's time of a training.")] = 60.0,
    limit: Annotated[int, typer.Option(help="Test sentences.")] = 2000,
    out: Annotated[Path, typer.Option(help="Result file.")] = Path("benchmarks/results/peers.json"),
    row: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure rows, each in a process of its own, and add them to the result file."""
    if row:
        name, language = row.split(":")
        print(json.dumps(measure(name, wikiann, language, limit, Training(work, pipeline, minutes))))
        return
    from record import Record

    command = f"python {shlex.join(sys.argv)}"
    record = Record(command, SETTINGS.format(limit=limit, train=N_TRAIN))
    msg.info(str(record.machine))
    rest = [sys.executable, *sys.argv]
    for name in rows.split(","):
        done = subprocess.run([*rest, "--row", name], stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout.splitlines()[-1])
        before = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else {}
        about = {"command": command, "commit": record.commit, "machine": str(record.machine)}
        measured = dict(
            sorted({**before, name: {**figures, **about}}.items(), key=lambda item: item[0][::-1])
        )
        record.write(out, [tabulate(measured)], note=NOTE, rows=measured)
        msg.good(f"{name}: {figures}")


def tabulate(rows: dict[str, dict[str, Any]]) -> Any:
    """Make the table of all rows, language by language."""
    from record import Table

    lines = [
        [
            row["language"], name.partition(":")[0],
            *(f"{100 * row['f'][label]:.1f}" for label in ("all", *LABELS)),
            *(f"{row[key]:,.0f}" for key in ("words_per_second", "megabytes", "peak")), row["weights"],
        ]
        for name, row in sorted(rows.items(), key=lambda item: (item[1]["language"], -item[1]["f"]["all"]))
    ]  # fmt: skip
    return Table("Beside others, on WikiAnn's test sentences", HEADER, lines)


class Training(NamedTuple):
    """The needs of rows with a training: a folder, or a pipeline that is there, and minutes."""

    work: Path
    pipeline: Path | None
    minutes: float


def measure(name: str, wikiann: Path, language: str, limit: int, training: Training) -> dict[str, Any]:
    """Measure a system in this process. RETURNS: The figures of its row."""
    from memory import memory

    texts, gold, n_words = read_test(wikiann, language, limit)
    system = BUILDERS[name](wikiann, language, training)
    system.find(texts[:20])
    start = time.process_time()
    predicted = system.find(texts)
    seconds = time.process_time() - start
    files = {
        path
        for folder in system.folders
        for path in ([folder] if folder.is_file() else folder.rglob("*"))
        if path.is_file()
    }
    return {
        "language": language,
        "f": {label: f_score(predicted, gold, label) for label in ("all", *LABELS)},
        "n_sentences": len(texts),
        "n_entities": sum(map(len, gold)),
        "words_per_second": n_words / seconds,
        "seconds": seconds,
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "peak": memory(),
        "weights": system.weights,
    }


def f_score(predicted: list[set[Entity]], gold: list[set[Entity]], label: str) -> float:
    """Compute F1 of a label, or of all."""
    pairs = [
        tuple({e for e in side if label in ("all", e[2])} for side in pair)
        for pair in zip(predicted, gold, strict=True)
    ]
    n_right = sum(len(a & b) for a, b in pairs)
    return 2 * n_right / max(1, sum(len(a) + len(b) for a, b in pairs))


def read_test(wikiann: Path, language: str, limit: int) -> tuple[list[str], list[set[Entity]], int]:
    """Read test sentences. RETURNS: Texts, gold entities by characters, and the number of words."""
    from itertools import islice

    import spacy

    from spacy_xner.corpus.conll import read_tagged
    from spacy_xner.corpus.docs import make_doc
    from spacy_xner.stability import entity_set
    from spacy_xner.tokenizer import create_multilingual_tokenizer

    nlp = spacy.blank("xx")
    nlp.tokenizer = create_multilingual_tokenizer()(nlp)
    sentences = islice(read_tagged(wikiann / language / "test.tsv", language), limit)
    docs = [make_doc(nlp.vocab, sentence, language) for sentence in sentences]
    texts = [doc.text for doc in docs]
    return texts, [entity_set(doc) for doc in docs], sum(len(nlp.make_doc(text)) for text in texts)


def build_natasha(wikiann: Path, language: str, training: Training) -> System:
    """natasha's tagger for Russian news; its wheel has the weights and their word vectors."""
    from importlib.metadata import version

    import natasha
    from natasha import Doc, NewsEmbedding, NewsNERTagger, Segmenter

    segmenter, tagger = Segmenter(), NewsNERTagger(NewsEmbedding())

    def find(texts: list[str]) -> list[set[Entity]]:
        predicted = []
        for text in texts:
            doc = Doc(text)
            doc.segment(segmenter)
            doc.tag_ner(tagger)
            predicted.append({(span.start, span.stop, span.type) for span in doc.spans})
        return predicted

    data = Path(natasha.__file__).parent / "data"
    folders = [next((data / "emb").glob("navec*.tar")), next((data / "model").glob("slovnet_ner*.tar"))]
    return System(find, folders, f"natasha {version('natasha')}, MIT; news")


def build_ginza(wikiann: Path, language: str, training: Training) -> System:
    """GiNZA's pipeline for Japanese with its tagger alone; the wheel of ja-ginza has the weights."""
    from importlib.metadata import version

    import ja_ginza
    import spacy
    import sudachidict_core
    from ginza.ene_ontonotes_mapper import ENE_ONTONOTES_MAPPING

    nlp = spacy.load(
        "ja_ginza", exclude=["parser", "morphologizer", "compound_splitter", "bunsetu_recognizer"]
    )

    def find(texts: list[str]) -> list[set[Entity]]:
        return [
            {
                (ent.start_char, ent.end_char, label)
                for ent in doc.ents
                if (label := ONTONOTES.get(ENE_ONTONOTES_MAPPING.get(ent.label_, "")))
            }
            for doc in nlp.pipe(texts)
        ]

    folders = [Path(ja_ginza.__file__).parent, Path(sudachidict_core.__file__).parent]
    return System(find, folders, f"ja-ginza {version('ja-ginza')}, MIT; mapped labels, with its dictionary")


def find_with(path: Path, language: str) -> Callable[[list[str]], list[set[Entity]]]:
    """The entities that a pipeline of spaCy finds; the language is known, as it is to the other systems."""
    import spacy

    from spacy_xner.attributes import register_attributes
    from spacy_xner.stability import entity_set

    register_attributes()
    nlp = spacy.load(path)

    def find(texts: list[str]) -> list[set[Entity]]:
        pairs = ((text, {"language": language}) for text in texts)
        return [entity_set(doc) for doc, _ in nlp.pipe(pairs, as_tuples=True)]

    return find


def build_pipeline(wikiann: Path, language: str, training: Training) -> System:
    """A trained pipeline of this package, as it is."""
    assert training.pipeline is not None, "rows `pipeline:` need --pipeline"
    return System(find_with(training.pipeline, language), [training.pipeline], training.pipeline.as_posix())


def build_cnn(wikiann: Path, language: str, training: Training) -> System:
    """spaCy's `ner` on its default convolutional encoder, HashEmbedCNN, trained here."""
    from spacy.cli.init_config import init_config

    config = init_config(lang="xx", pipeline=["ner"], optimize="efficiency", silent=True)
    corpus = write_corpus(wikiann, language, training.work)
    for split in ("train", "dev"):
        config["paths"][split] = str(corpus / f"{language}-wikiann-{split}.spacy")
    config["training"].update(patience=0, max_steps=0, max_epochs=0, eval_frequency=1000)
    path = training.work / f"cnn-{language}"
    trained = train(config, path, training.minutes)
    return System(find_with(trained, language), [trained], f"WikiAnn, {training.minutes:g} min")


def build_xner(wikiann: Path, language: str, training: Training) -> System:
    """The package's tagger on multilingual-e5-small, trained here by the installed config."""
    from spacy.util import load_config

    from spacy_xner.training import config_path

    corpus = write_corpus(wikiann, language, training.work)
    # The schedule would end with the training, whose end is told by the clock: it rises, and stays.
    overrides = {
        "paths.corpus": str(corpus), "paths.curves": str(training.work / f"xner-{language}.jsonl"),
        "vars.languages": [language], "vars.dev_limit": N_DEV, "vars.n_frozen_layers": 6,
        "vars.precision": "auto", "vars.learn_rate": 1e-4, "vars.max_epochs": 0, "vars.eval_frequency": 500,
        "vars.total_steps": 10**6, "vars.warmup": 2e-4, "training.max_steps": 0, "training.max_epochs": 0,
    }  # fmt: skip
    config = load_config(config_path("transformer"), overrides=overrides, interpolate=False)
    trained = train(config, training.work / f"xner-{language}", training.minutes)
    return System(find_with(trained, language), [trained], f"WikiAnn, {training.minutes:g} min")


def write_corpus(wikiann: Path, language: str, work: Path) -> Path:
    """Convert the training and dev sentences of a language, unless that was done before."""
    from spacy_xner.corpus.convert import Selection, convert_tagged, make_label_rules

    corpus = work / f"corpus-{language}"
    if not (corpus / f"{language}-wikiann-train.spacy").exists():
        # The training file comes last: where it is, the other one is too.
        for split, size in (("dev", N_DEV), ("train", N_TRAIN)):
            selection = Selection([language], size, splits=(split,))
            list(convert_tagged(wikiann, corpus, "wikiann", make_label_rules(), selection))
    return corpus


def train(config: Any, path: Path, minutes: float) -> Path:
    """Train by a config until the time is over, unless that was done before. RETURNS: The best pipeline."""
    from spacy.training.initialize import init_nlp
    from spacy.training.loop import train as train_loop
    from spacy.util import registry

    if (path / "model-best" / "meta.json").exists():
        return path / "model-best"
    limit = time.process_time() + 60 * minutes

    @registry.callbacks("benchmarks.out_of_time.v1")
    def create_clock() -> Callable[[Any, dict[str, Any]], None]:
        def look(nlp: Any, info: dict[str, Any]) -> None:
            if time.process_time() > limit:
                raise KeyboardInterrupt

        return look

    config["training"]["before_update"] = {"@callbacks": "benchmarks.out_of_time.v1"}
    nlp = init_nlp(config)
    with contextlib.suppress(KeyboardInterrupt):
        train_loop(nlp, path, stdout=sys.stderr, stderr=sys.stderr)
    # The loop writes the last pipeline in any case; the best one is from its last evaluation but few.
    best = path / "model-best"
    return best if best.exists() else path / "model-last"


BUILDERS: dict[str, Callable[[Path, str, Training], System]] = {
    "natasha": build_natasha,
    "ginza": build_ginza,
    "pipeline": build_pipeline,
    "cnn": build_cnn,
    "xner": build_xner,
}


if __name__ == "__main__":
    typer.run(main)
