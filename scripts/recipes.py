"""Parts of a recipe for transfer: each can be added to plain fine-tuning, alone or with others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
# The config transfer.cfg without its parts. The embeddings are never trained.
PLAIN: Settings = {
    "vars.n_frozen_layers": 0, "vars.head_rate": 1.0, "vars.layer_decay": 1.0, "vars.mix_layers": False,
    "vars.scheme": "IOB1", "vars.decode": "argmax",
}  # fmt: skip
HEAD = "components.ner.model.head"
ENCODER = "components.ner.model.tok2vec"
AUGMENTER = "corpora.train.augmenter"
AVERAGE, CONSTRAINED, SWITCHED = "weight average", "constrained decoding", "code-switching"


@dataclass(frozen=True)
class Part:
    """The changes that a part makes.

    settings: Overrides of the config transfer.cfg.
    objectives: Objectives by the names that the tagger gives them.
    is_taught: A first tagger, which learns the labels alone, teaches the one that counts.
    reads_text: The targets' text is read; that of a taught tagger is in any case.
    length: The training has so many times the steps.
    """

    settings: Settings = field(default_factory=dict)
    objectives: dict[str, Settings] = field(default_factory=dict)
    is_taught: bool = False
    length: int = 1
    reads_text: bool = False


PARTS: dict[str, Part] = {
    "head rate": Part({"vars.head_rate": 10.0}),
    "layer decay": Part({"vars.layer_decay": 0.9}),
    "mix": Part({"vars.mix_layers": True}),
    "frozen 3": Part({"vars.n_frozen_layers": 3}),
    # The mean is that of all evaluations from the second one on; it changes no training but a student's.
    AVERAGE: Part(),
    "subword sampling": Part(
        objectives={
            "subwords": {
                "@misc": "spacy_xner.subword_consistency.v1", "weight": 5.0, "ratio": 0.3, "alpha": 0.3
            }
        }
    ),
    "R-Drop": Part(objectives={"r_drop": {"@misc": "spacy_xner.r_drop.v1", "weight": 0.5}}),
    "self-training": Part(is_taught=True),
    # Dictionaries are the experiment's, from `paths.dictionaries`.
    SWITCHED: Part({AUGMENTER: {"@augmenters": "spacy_xner.code_switching.v1"}}),
    # The encoder inside is the experiment's. Nothing but the means is learnt of the targets' text.
    "language means": Part(
        {ENCODER: {"@architectures": "spacy_xner.LanguageMeans.v1", "n_texts": 100, "refresh": 100}},
        reads_text=True,
    ),
    # The control of what takes more time than plain steps do.
    "twice the steps": Part(length=2),
    "CRF": Part({HEAD: {"@architectures": "spacy_xner.CrfHead.v1"}}),
    # Under IOB1, the scheme of plain fine-tuning, next to all tags are allowed.
    "IOB2": Part({"vars.scheme": "IOB2"}),
    CONSTRAINED: Part(),
}  # fmt: skip

# Ways to read one training: the folder of its weights, and what is changed when they are loaded.
READINGS: dict[str, tuple[str, Settings]] = {
    "": ("model-last", {}),
    AVERAGE: ("model-average", {}),
    CONSTRAINED: ("model-last", {f"{HEAD}.decode": "viterbi"}),
    f"{AVERAGE}+{CONSTRAINED}": ("model-average", {f"{HEAD}.decode": "viterbi"}),
}


def combine(names: Iterable[str]) -> Part:
    """Put parts together on plain fine-tuning."""
    settings, is_taught, length, reads_text = dict(PLAIN), False, 1, False
    objectives: dict[str, Settings] = {}
    for part in (PARTS[name] for name in names):
        settings |= part.settings
        objectives |= part.objectives
        is_taught |= part.is_taught
        length *= part.length
        reads_text |= part.reads_text or part.is_taught
    if isinstance(head := settings.get(HEAD), dict):
        settings[HEAD] = {**head, "learn_rate_factor": settings["vars.head_rate"]}
    return Part(settings, objectives, is_taught, length, reads_text)


def reading_of(names: Iterable[str]) -> str:
    """The reading that the parts of a run ask for."""
    return "+".join(part for part in (AVERAGE, CONSTRAINED) if part in set(names))


def readings(names: Sequence[str], *, every: bool) -> list[str]:
    """The readings that a run is scored by.

    every: Take those too that the parts do not ask for. A scheme that allows next to all tags has no others
        that are worth the time.
    """
    listed = reading_of(names)
    if not every:
        return [listed]
    keeps = CONSTRAINED in names or ("IOB2" in names and "CRF" not in names)
    return [reading for reading in READINGS if keeps or CONSTRAINED not in reading]
