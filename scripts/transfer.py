"""Transfer from labels in some languages to others: plain fine-tuning with parts of a recipe added.

All runs of an experiment have equally many optimizer steps, unless a part is about their number. No
evaluation is selected: the last weights count, and beside them the mean of those of all evaluations from the
second on. A target's labels are read for its scores alone.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import spacy
from spacy.training import Example

from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import read_examples
from spacy_xner.router.sources import rank_sources
from spacy_xner.routes.settings import learn_from_text
from spacy_xner.routes.transfer import training_overrides
from spacy_xner.routes.transfer_data import Transfer, embed_languages, write_corpus
from spacy_xner.scoring import annotate, count_by_sentence
from spacy_xner.stability import describe_predictions
from spacy_xner.training import steps_per_epoch

from scripts.overrides import TRANSFORMER, Fitted, Trained, schedule
from scripts.recipes import (
    AUGMENTER,
    AVERAGE,
    ENCODER,
    PARTS,
    READINGS,
    SWITCHED,
    Part,
    combine,
    reading_of,
    readings,
)
from scripts.results import ALL, pack_counts, score_rows
from scripts.runner import Run, Settings


class TransferRuns(Trained):
    """Train with some parts, and score the targets by every reading of the weights."""

    kind = "transfer"
    config = "transfer"
    # parts: Names in `recipes.PARTS`; none are plain fine-tuning.
    # target: One target; it is left out of languages and candidates.
    # candidates: Languages that sources can be chosen of, by the identifier in `paths.identifiers`.
    # choose: The nearest so many candidates are learnt from.
    # labels: Labelled sentences of all languages together, evenly; 0 for `limit` in each.
    # text_limit: Sentences of text of each target, for a student.
    # scored: The split that is scored, up to `test_limit` sentences of each language.
    # test_sources: Corpora that are scored besides those that are learnt from.
    # all_readings: The weights are read in all ways, not only in the one that the parts ask for.
    # counts: Results have right, predicted and gold entities by sentence, for bootstraps.
    # headline: Languages whose mean is shown; all targets by default.
    defaults = TRANSFORMER | {
        "languages": [], "targets": [], "target": None, "candidates": [], "choose": 0, "sources": [],
        "parts": [], "limit": 4000, "labels": 0, "text_limit": 5000, "dev_limit": 300, "rounds": 1,
        "share": 0.7, "scored": "dev", "test_limit": 1000, "test_sources": [], "counts": True, "headline": [],
        "all_readings": True,
    }  # fmt: skip

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Leave the targets out of the languages. RAISES: XNER808, XNER809."""
        known = ", ".join(PARTS)
        for name in settings["parts"]:
            if name not in PARTS:
                raise XnerError(Errors.XNER808.format(setting="parts", known=known, found=name))
        target, n = settings["target"], settings["choose"]
        targets = [target] if target else settings["targets"]
        languages, candidates = (
            [lang for lang in settings[key] if lang != target] for key in ("languages", "candidates")
        )
        targets = [lang for lang in targets if lang not in languages]
        if n:
            # A language that is chosen as a source is no target without labels.
            candidates = [lang for lang in candidates if lang not in targets]
        if n and n > len(candidates):
            self._refuse(f"`choose` is {n}, and there are {len(candidates)} candidates")
        if not (n or languages) or not targets:
            self._refuse("it has no languages with labels, or no targets; give `languages` and `targets`")
        if candidates and "identifiers" not in self.paths:
            self._refuse(
                "`candidates` are ranked by the identifier in `paths.identifiers`, which is not given"
            )
        if SWITCHED in settings["parts"] and ("dictionaries" not in self.paths or len(languages) != 1):
            self._refuse("code-switching needs one language with labels, and `paths.dictionaries`")
        yield {**settings, "languages": languages, "candidates": candidates, "targets": targets}

    def _refuse(self, reason: str) -> None:
        raise XnerError(Errors.XNER809.format(name=self.name, reason=reason))

    def place(self, run: Run) -> Path | None:
        """A folder for each run in `paths.keep`, if that is given."""
        return self.paths["keep"] / run.name if "keep" in self.paths else None

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one run, its teachers first."""
        part = combine(run["parts"])
        transfer = self._transfer(run, work)
        nearness = self._nearness(run, transfer)
        if run["choose"]:
            chosen = sorted(list(nearness[run["targets"][0]])[: run["choose"]])
            transfer = replace(transfer, languages=tuple(chosen))
        if run["labels"]:
            transfer = replace(transfer, limit=max(1, run["labels"] // len(transfer.languages)))
        # Text that is not learnt from is not read.
        text = transfer if part.reads_text else replace(transfer, targets=())
        sizes = write_corpus(text, work / "corpus")
        per_pass = steps_per_epoch(sum(sizes[lang] for lang in transfer.languages), run["batch_size"])
        rounds = run["rounds"] if part.is_taught else 0
        fitted = self._fit(run, part, transfer, None, per_pass, work / "round-0")
        seconds = fitted.seconds
        for i in range(rounds):
            teacher = fitted.folder / READINGS[AVERAGE if AVERAGE in run["parts"] else ""][0]
            fitted = self._fit(run, part, transfer, teacher, per_pass, work / f"round-{i + 1}")
            seconds += fitted.seconds
        outcome = self._score(run, transfer, fitted.folder)
        if "keep" in self.paths:
            (fitted.folder / READINGS[reading_of(run["parts"])][0]).rename(work / "kept")
        return {
            "languages": list(transfer.languages),
            "targets": run["targets"],
            "sentences": sum(sizes[lang] for lang in transfer.languages),
            "steps": fitted.steps,
            "all_steps": fitted.steps * (rounds + 1),
            "seconds": seconds,
            "source_dev": [line["score"] for line in fitted.curve],
            "nearness": nearness,
            **outcome,
        }

    def _transfer(self, run: Run, work: Path) -> Transfer:
        names = (
            "encoder",
            "limit",
            "text_limit",
            "dev_limit",
            "learn_rate",
            "epochs",
            "share",
            "batch_size",
            "seed",
        )
        settings = {name: run[name] for name in names}
        return Transfer(
            self.paths["corpus"], work, tuple(run["languages"]), tuple(run["targets"]), tuple(run["sources"]),
            frozen=run["frozen"], precision=self.precision, gpu=self.gpu, **settings,
        )  # fmt: skip

    def _nearness(self, run: Run, transfer: Transfer) -> dict[str, dict[str, float]]:
        """Rank the candidates by nearness to every target. RAISES: XNER814 without an identifier."""
        if not run["candidates"]:
            return {}
        identifier = self.paths["identifiers"] / "identifier"
        if not identifier.is_dir():
            raise XnerError(
                Errors.XNER814.format(missing=identifier, verb="scripts experiment --only identifier")
            )
        labelled, targets = embed_languages(replace(transfer, languages=tuple(run["candidates"])), identifier)
        return {
            target: rank_sources(
                {name: v for name, v in labelled.items() if name != target}, {target: vectors}
            )
            for target, vectors in targets.items()
        }

    def _fit(
        self, run: Run, part: Part, transfer: Transfer, teacher: Path | None, per_pass: int, folder: Path
    ) -> Fitted:
        """Train one tagger, of a teacher if there is one."""
        overrides = training_overrides(transfer, folder, teacher)
        objectives = {**overrides.pop("components.ner.objectives", {}), **part.objectives}
        n_steps = part.length * (run["steps"] or run["epochs"] * per_pass)
        longer = Run(run.axes, {**run.settings, "steps": n_steps})
        overrides |= {**part.settings, **schedule(longer, per_pass, n_scored=run["epochs"])}
        if run["frozen"]:
            overrides["vars.n_frozen_layers"] = run["frozen"]
        if part.reads_text:
            overrides |= learn_from_text(list(transfer.languages), list(transfer.targets), objectives)
        elif objectives:
            overrides["components.ner.objectives"] = objectives
        if ENCODER in overrides:
            overrides[ENCODER] = {**overrides[ENCODER], "tok2vec": self._encoder(run, overrides)}
            # Settings of the encoder are those of the one inside.
            run = Run(run.axes, {k: v for k, v in run.settings.items() if not k.startswith(f"{ENCODER}.")})
        if AUGMENTER in overrides:
            overrides[AUGMENTER] = {**overrides[AUGMENTER], **self._switching(run)}
        return self.fit(run, overrides, folder.parent, folder.name)

    def _encoder(self, run: Run, overrides: Settings) -> Settings:
        """The encoder of configs/transfer.cfg, for another one around it."""
        names = ("n_frozen_layers", "layer_decay", "mix_layers", "precision")
        return {
            "@architectures": "spacy_xner.TransformerEncoder.v1",
            "name": run["encoder"],
            "max_learn_rate": None,
            **{name: overrides[f"vars.{name}"] for name in names},
            **{
                k.removeprefix(f"{ENCODER}."): v
                for k, v in run.settings.items()
                if k.startswith(f"{ENCODER}.")
            },
        }

    def _switching(self, run: Run) -> Settings:
        """The dictionaries from the language of the labels, {source}-{target}.dict or .txt, and the seed."""
        [language] = run["languages"]
        paths = sorted(self.paths["dictionaries"].glob(f"{language}-*.*"))
        dictionaries = {path.stem.removeprefix(f"{language}-"): str(path) for path in paths}
        return {"dictionaries": dictionaries, "language": language, "seed": run["seed"]}

    def _score(self, run: Run, transfer: Transfer, folder: Path) -> dict[str, Any]:
        """Score every reading. RETURNS: `scores`, `unlabelled` and `counts` of a result file."""
        languages = [*run["targets"], *(() if run["candidates"] else transfer.languages)]
        outcome: dict[str, Any] = {"scores": [], "unlabelled": {}, "counts": {}}
        for reading in readings(run["parts"], every=run["all_readings"]):
            weights, changes = READINGS[reading]
            nlp = spacy.load(folder / weights, config=changes)
            for source in ["", *run["test_sources"]]:
                examples = self._examples(run, nlp, languages, source)
                if not examples:
                    continue
                rows = score_rows(annotate(nlp, examples), source, run["scored"])
                outcome["scores"] += [{"reading": reading, **row} for row in rows if row["label"] == ALL]
                if source:
                    continue
                docs = [example.predicted for example in examples]
                spoken = [example.reference._.language for example in examples]
                outcome["unlabelled"][reading] = describe_predictions(docs, None, spoken, "xner")
                if run["counts"]:
                    outcome["counts"][reading] = pack_counts(count_by_sentence(examples))
        return outcome

    def _examples(
        self, run: Run, nlp: spacy.language.Language, languages: list[str], source: str
    ) -> list[Example]:
        """Read the sentences of a corpus that are scored, in those of the languages that it has."""
        sources = [source] if source else run["sources"]
        files = find_files(self.paths["corpus"], run["scored"], [], sources)
        spoken = [lang for lang in languages if lang in files]
        # No language at all would stand for every language of the corpus.
        return spoken and read_examples(
            nlp, self.paths["corpus"], run["scored"], spoken, run["test_limit"], sources, known_language=True
        )
