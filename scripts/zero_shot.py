"""Zero-shot transfer: train on some languages, watch others, with auxiliary objectives on their text.

SOURCE: Moon et al. 2019, Tables 3 to 7, Figures 2 and 3.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import spacy

from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.routes.settings import learn_from_text, read_sentences, text_steps
from spacy_xner.training import steps_per_epoch
from spacy_xner.transformer.checkpoint import describe, load_checkpoint
from spacy_xner.transformer.risk import TransferRisk, describe_risk
from spacy_xner.transformer.wordpieces import split_texts

from scripts.overrides import TRANSFORMER, Trained, schedule
from scripts.runner import Run, Settings

# The tagger alone, in the paper's words.
NONE = "ML"
OBJECTIVES: dict[str, tuple[str, Settings]] = {
    "LI": ("language_id", {"@misc": "spacy_xner.language_id.v1"}),
    "CL": ("cloze", {"@misc": "spacy_xner.cloze.v1"}),
    "PC": ("predictive_cloze", {"@misc": "spacy_xner.predictive_cloze.v1"}),
    "ST": ("self_training", {"@misc": "spacy_xner.augmented_tuning.v1", "target_reader": False}),
}


OVERLAP: Settings = {"components.ner.model.tok2vec.overlap": 8}


class ZeroShot(Trained):
    """Score every epoch on dev and test sets of the targets, whose training text is the objectives' text.

    No epoch is selected here: tables show what selection on source dev, target dev and without labels gives.
    """

    kind = "zero_shot"
    required = ("languages",)
    # held_out: A language whose labels are withheld (leave-one-out); it is the only target.
    # objectives: "ML", or LI, CL, PC, ST and sums such as "CL+LI".
    # weight: Factor of every objective's loss.
    # head_steps: Batches in which a cloze head without weights of its own learns alone.
    # window: Wordpieces that are read at once, labelled and unlabelled text alike; 0 for the config's. Longer
    # sentences are cut into parts that overlap by 8, as the paper does for runs with objectives.
    defaults = TRANSFORMER | {
        "languages": [], "targets": [], "held_out": None, "sources": [], "objectives": NONE, "weight": 1.0,
        "limit": 2000, "dev_limit": 150, "test_limit": 500, "head_steps": 200, "window": 0,
    }  # fmt: skip

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Withhold the labels of the held-out language; a run without objectives has no weight.

        RAISES: XNER808, XNER809.
        """
        names, held_out = settings["objectives"].split("+"), settings["held_out"]
        if unknown := sorted(set(names) - {NONE, *OBJECTIVES}):
            known = f"{NONE}, {', '.join(OBJECTIVES)} or sums of them"
            raise XnerError(
                Errors.XNER808.format(setting="objectives", known=known, found=", ".join(unknown))
            )
        if held_out is not None:
            languages = [lang for lang in settings["languages"] if lang != held_out]
            settings = {**settings, "languages": languages, "targets": [held_out]}
        if not settings["languages"] or not settings["targets"]:
            self._refuse("it has no languages with labels, or no targets; give `targets` or `held_out`")
        if "ST" in names and settings["epochs"] < 2:
            self._refuse("ST needs two epochs or more: one of labels, and one of the tagger's own labels")
        yield settings if settings["objectives"] != NONE else {**settings, "weight": 0.0}

    def _refuse(self, reason: str) -> None:
        raise XnerError(Errors.XNER809.format(name=self.name, reason=reason))

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one run, and describe each of its evaluations."""
        languages, targets, sources = run["languages"], run["targets"], run["sources"]
        risks = {target: _risk_of(self, run, target) for target in targets}
        names = [name for name in run["objectives"].split("+") if name != NONE]
        chosen = _objectives_of(run, names)
        n_sentences = self.count(run, languages, sources)
        # A pass is one over the labels; each of their minibatches takes an unlabelled one along, if any.
        steps = steps_per_epoch(n_sentences, run["batch_size"])
        n_before = 0
        if chosen:
            texts = text_steps(steps, self.count(run, targets, sources), run["batch_size"])
            if "self_training" in chosen:
                # The tagger is its own teacher after half of the epochs, and a newer one with every epoch.
                n_before = run["epochs"] // 2
                chosen["self_training"] |= {"start_after": texts * n_before, "refresh_every": texts}
        watched = [*languages, *targets]
        overrides = {
            **self.transformer(run, languages, sources),
            **schedule(run, steps, n_scored=run["epochs"]),
            "training.logger.watch": {
                split: self.reader(run, split, watched, sources) for split in ("dev", "test")
            },
        }
        if run["window"]:
            overrides |= {"components.ner.model.tok2vec.window": run["window"], **OVERLAP}
        if chosen:
            weighted = {name: {**objective, "weight": run["weight"]} for name, objective in chosen.items()}
            overrides |= learn_from_text(languages, targets, weighted)
        fitted = self.fit(run, overrides, work)
        return {
            "languages": languages,
            "targets": targets,
            "sentences": n_sentences,
            "steps": fitted.steps,
            "seconds": fitted.seconds,
            "risks": {target: risk._asdict() for target, risk in risks.items()},
            # Epochs before self-training starts cannot be selected.
            "curve": [_describe(line, watched) for line in fitted.curve[n_before:]],
        }


def _objectives_of(run: Run, names: list[str]) -> dict[str, Settings]:
    """Configs of a run's objectives by the names that the pipeline gives them."""
    chosen = {name: dict(objective) for name, objective in (OBJECTIVES[name] for name in names)}
    for name in {"cloze", "predictive_cloze"} & set(chosen):
        chosen[name]["head_steps"] = run["head_steps"]
    if "language_id" in chosen and len(run["targets"]) < 2:
        # One language without labels can be told from those with labels alone. The paper has such rows in
        # its Tables 3 and 6 and does not say how.
        chosen["language_id"]["languages"] = "all"
    return chosen


def _describe(line: dict[str, Any], languages: list[str]) -> dict[str, Any]:
    """The part of an evaluation that the tables read."""
    watch = line["watch"]
    described = {
        lang: {
            **{split: watch[split]["ents_per_language"][lang]["f"] for split in ("dev", "test")},
            **watch["dev"]["unlabelled"][lang],
        }
        for lang in languages
    }
    return {
        "step": line["step"],
        "source_dev": line["score"],
        "losses": line["losses"],
        "languages": described,
    }


_RISKS: dict[tuple[Any, ...], TransferRisk] = {}


def _risk_of(experiment: ZeroShot, run: Run, target: str) -> TransferRisk:
    """Describe how risky the transfer is by training text, labels unseen."""
    key = (run["encoder"], tuple(run["languages"]), target, tuple(run["sources"]), run["limit"])
    if key not in _RISKS:
        checkpoint, tokenizer = load_checkpoint(run["encoder"])
        unknown_id = describe(checkpoint, tokenizer)["special_ids"].get("unk")
        split = partial(split_texts, tokenizer.backend_tokenizer)
        vocab = spacy.blank("xx").vocab

        def read(languages: list[str]) -> list[spacy.tokens.Doc]:
            files = find_files(experiment.paths["corpus"], "train", languages, run["sources"])
            paths = [path for group in files.values() for path in group]
            return list(read_sentences(paths, vocab, run["limit"]))

        _RISKS[key] = describe_risk(read([target]), read(run["languages"]), split, unknown_id)
    return _RISKS[key]
