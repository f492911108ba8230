"""Settings of a silver corpus."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from spacy_xner.files import describe_file
from spacy_xner.projector.parallel import ParallelText
from spacy_xner.types import Precision


@dataclass(frozen=True)
class AlignerSettings:
    """How the places of entities are found.

    pipeline: Trained pipeline with an `entity_projector`; without one the encoder compares.
    encoder: Checkpoint that compares.
    layer: Layer of the encoder that is compared.
    precision: Numbers that the encoder computes with; see `TorchShim`.
    suppressed: Labels that become O. Here and in the next two, None takes the setting of the pipeline.
    min_probability: Least score of a place.
    back_projection: Believe only places that lead back to the entity.
    """

    pipeline: str = ""
    encoder: str = "multilingual-e5-small"
    layer: int = 6
    precision: Precision = "auto"
    suppressed: tuple[str, ...] | None = None
    min_probability: float | None = None
    back_projection: bool | None = None


@dataclass(frozen=True)
class SilverSettings:
    """The sources of a silver corpus, and how it is made of them.

    teacher: Pipeline that finds the entities of the source side.
    text: The parallel text.
    language: Language of the target side, as it stands in file names.
    source_language: Language of the source side.
    aligner: How the places of entities are found.
    empty_share: At most this share of the sentences has no entity.
    part_size: Pairs that are saved together; a shard is saved whole.
    n_examples: Pairs of every kind on the audit page.
    """

    teacher: str
    text: ParallelText
    language: str
    source_language: str = "en"
    aligner: AlignerSettings = field(default_factory=AlignerSettings)
    empty_share: float = 1.0
    part_size: int = 5000
    n_examples: int = 20

    def resolve(self) -> "SilverSettings":
        """Make the paths of pipelines absolute, which workers elsewhere understand too."""
        aligner = replace(
            self.aligner, pipeline=_absolute(self.aligner.pipeline), encoder=_absolute(self.aligner.encoder)
        )
        return replace(self, teacher=_absolute(self.teacher), aligner=aligner)

    def describe(self) -> dict[str, Any]:
        """Make plain JSON that is the same if, and only if, the corpus will be the same."""
        names = ("language", "source_language", "empty_share", "part_size", "n_examples")
        aligner = {**asdict(self.aligner), "pipeline": _describe_pipeline(self.aligner.pipeline)}
        plan = {
            "teacher": _describe_pipeline(self.teacher),
            "text": self.text.describe(),
            **{name: getattr(self, name) for name in names},
            **{f"aligner.{name}": value for name, value in aligner.items()},
        }
        # As it will be read back: tuples become lists.
        return dict(json.loads(json.dumps(plan)))


def _describe_pipeline(name: str) -> list[str | int]:
    """Tell a pipeline from the same one trained anew, by its path or name and its files' size and time."""
    meta = Path(name) / "meta.json"
    return [_absolute(name), *(describe_file(meta)[1:] if meta.exists() else [])] if name else []


def _absolute(name: str) -> str:
    """Make the path of a folder absolute; a name that is no folder stays."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name
