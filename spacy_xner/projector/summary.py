"""The result of a projection in numbers: counts, examples, lines with a missing side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.tokens import Doc

from spacy_xner.projector.filters import Fate
from spacy_xner.projector.parallel import TextPair

# The kind of the examples whose sentence is in the corpus; the others are named after a `Fate`.
KEPT = "kept"
_TITLES = {
    "pairs": "pairs",
    "incomplete_pairs": "pairs with a missing side",
    "kept": "sentences kept",
    "kept_without_entities": "sentences kept without entities",
    "left_out": "sentences without entities left out",
    "rejected": "sentences rejected",
}


@dataclass
class SilverCounts:
    """Counts of a silver corpus or of a part of it.

    pairs: All pairs of the text.
    incomplete_pairs: Pairs with a missing side.
    kept: Sentences of the corpus.
    kept_without_entities: Sentences of the corpus that have no entity.
    left_out: Complete sentences without entities that were too many.
    rejected: Sentences that lost an entity.
    fates: Entities of the source by `Fate`.
    labels: Entities of the corpus by label.
    """

    pairs: int = 0
    incomplete_pairs: int = 0
    kept: int = 0
    kept_without_entities: int = 0
    left_out: int = 0
    rejected: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, other: "SilverCounts") -> None:
        """Add the counts of another part."""
        for name in _TITLES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.fates.update(other.fates)
        self.labels.update(other.labels)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` reads."""
        numbers = {name: getattr(self, name) for name in _TITLES}
        return {**numbers, "fates": dict(self.fates), "labels": dict(self.labels)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "SilverCounts":
        """Read what `to_json` made."""
        numbers = {name: int(content[name]) for name in _TITLES}
        return cls(**numbers, fates=Counter(content["fates"]), labels=Counter(content["labels"]))

    def rows(self) -> list[tuple[str, int]]:
        """Titles and numbers for tables."""
        return [
            *((title, getattr(self, name)) for name, title in _TITLES.items()),
            *((f"entities of the source: {Fate(fate).text}", n) for fate, n in self.fates.most_common()),
            *((f"entities of the corpus: {label}", n) for label, n in self.labels.most_common()),
        ]


@dataclass
class Summary:
    """A silver corpus or a part of it, in numbers and examples.

    counts: Counts of pairs, sentences and entities.
    examples: Pairs to look at, by KEPT or the `Fate` of the first lost entity; see `describe_pair`.
    missing: Lines with a missing side; `shard:line` in a folder of shards.
    """

    counts: SilverCounts = field(default_factory=SilverCounts)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    missing: list[int | str] = field(default_factory=list)

    def add(self, other: "Summary", n_examples: int, shard: str = "") -> None:
        """Add another part.

        n_examples: At most so many examples of a kind.
        shard: Shard that the part is; its lines are counted from its own beginning.
        """
        self.counts.add(other.counts)
        self.missing += [f"{shard}:{line}" if shard else line for line in other.missing]
        for kind, rows in other.examples.items():
            examples = self.examples.setdefault(kind, [])
            examples += rows[: n_examples - len(examples)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` reads."""
        return {"counts": self.counts.to_json(), "examples": self.examples, "missing": self.missing}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Summary":
        """Read what `to_json` made."""
        return cls(SilverCounts.from_json(content["counts"]), content["examples"], content["missing"])


def record_pair(summary: Summary, pair: TextPair, doc: Doc, n_examples: int) -> bool:
    """Count a projected pair, and keep it as an example while there are few of its kind.

    doc: The target document as the projector left it.
    RETURNS: True if no entity was lost.
    """
    fates = [row["fate"] for row in doc._.projection]
    summary.counts.fates.update(fates)
    is_complete = doc.has_annotation("ENT_IOB")
    lost = [fate for fate in fates if fate not in (Fate.projected, Fate.suppressed)]
    shown = summary.examples.setdefault(KEPT if is_complete else lost[0], [])
    if len(shown) < n_examples and fates:
        shown.append(describe_pair(pair, doc, fates))
    if not is_complete:
        summary.counts.rejected += 1
    return is_complete


def describe_pair(pair: TextPair, doc: Doc, fates: Sequence[str]) -> dict[str, Any]:
    """Describe one pair for the audit page; an entity has the same number on both sides.

    RETURNS: `line`, `fates`, and `source` and `target` with `text` and `ents`: `start`, `end` (characters),
        `label` of each.
    """
    source = doc._.source
    sides: dict[str, dict[str, Any]] = {
        "source": {"text": source.text, "ents": []},
        "target": {"text": doc.text, "ents": []},
    }
    for number, (ent, row) in enumerate(zip(source.ents, doc._.projection, strict=True), start=1):
        label = f"{number} {ent.label_}"
        sides["source"]["ents"].append({"start": ent.start_char, "end": ent.end_char, "label": label})
        for start, end, score in row["places"]:
            span = doc[start:end]
            sides["target"]["ents"].append(
                {"start": span.start_char, "end": span.end_char, "label": f"{label} {score:.2f}"}
            )
    return {"line": pair.number, **sides, "fates": list(fates)}
