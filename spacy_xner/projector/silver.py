"""Silver corpora: the entities that a pipeline finds in one language, in parallel text of another.

Pairs are read as a stream and saved part by part; a stopped run goes on behind its last part.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language

from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.files import hold, read_json, remove_folder, write_json
from spacy_xner.projector.audit import write_audit
from spacy_xner.projector.parallel import TextPair, count_languages
from spacy_xner.projector.parts import PartWriter, merge_parts
from spacy_xner.projector.settings import SilverSettings
from spacy_xner.projector.summary import Summary
from spacy_xner.workers import share_by_ray

# Pairs of the beginning that are shown to the identifier.
N_IDENTIFIED = 200


@dataclass(frozen=True)
class Outputs:
    """The files of a silver corpus in a folder."""

    folder: Path
    language: str
    name: str

    @property
    def corpus(self) -> Path:
        """The sentences with their entities."""
        return self.folder / f"{self.language}-{self.name}-train.spacy"

    @property
    def summary(self) -> Path:
        """Counts and examples."""
        return self.folder / f"{self.language}-{self.name}.json"

    @property
    def page(self) -> Path:
        """The audit page."""
        return self.folder / f"{self.language}-{self.name}.html"

    @property
    def parts(self) -> Path:
        """Folder of finished parts, which lives as long as the work."""
        return (self.folder / f"{self.language}-{self.name}.parts").resolve()

    def check(self, summary: Summary) -> None:
        """See that the corpus has sentences. RAISES: XNER513."""
        if not summary.counts.kept:
            raise XnerError(Errors.XNER513.format(page=self.page))


def make_silver(
    settings: SilverSettings,
    outputs: Outputs,
    *,
    gpu: int = -1,
    ray_workers: int = 0,
    tell: Callable[[str], None] = lambda message: None,
) -> Summary:
    """Project all pairs, and write the corpus, its summary and its audit page.

    gpu: Number of the GPU, -1 for the CPU.
    ray_workers: Workers of a Ray cluster that share the shards; 0 projects in this process.
    tell: Takes messages on the progress.
    RAISES: XNER502 and XNER509 for files that do not fit, XNER702 if another process makes this corpus,
        XNER511 if the parts of a stopped run had other settings, XNER512 if parts are lost meanwhile,
        XNER715 without Ray.
    """
    settings = settings.resolve()
    settings.text.check()
    if ray_workers and not settings.text.shards:
        raise XnerError(Errors.XNER509.format(source=settings.text.source, reason="is one file, not shards"))
    with hold(outputs.parts):
        plan = settings.describe()
        _begin(outputs.parts, plan)
        writer = PartWriter(settings, outputs.parts, _digest(plan), gpu)
        if ray_workers:
            shards = settings.text.shards
            jobs = [{"path": str(path.resolve())} for path in shards]
            share_by_ray(writer.write_shard, jobs, ray_workers, n_gpus=1 if gpu >= 0 else None)
            names = [path.name for path in shards]
        else:
            names = [writer.write(part, tell) for part in settings.text.parts(settings.part_size)]
        summary = merge_parts(writer, names, outputs.corpus)
        content = {"language": settings.language, "source_language": settings.source_language}
        write_json(outputs.summary, {**content, **summary.to_json()})
        write_audit(outputs.page, summary, settings.source_language, settings.language)
        remove_folder(outputs.parts)
    return summary


def check_sides(pairs: Iterable[TextPair], identifier: Language, source_language: str, language: str) -> None:
    """Warn (W501) if less than half of the lines of a side are in its language.

    identifier: Pipeline with a `language_identifier`; a language that it does not know is not checked.
    """
    pairs = list(pairs)
    known = identifier.get_pipe("language_identifier").labels
    for side, expected in (("source", source_language), ("target", language)):
        texts = [text for pair in pairs if (text := getattr(pair, side)).strip()]
        counts = count_languages(texts, identifier)
        if expected in known and texts and counts[expected] < len(texts) / 2:
            shown = ", ".join(f"{n} {name}" for name, n in counts.most_common(3))
            warnings.warn(
                Warnings.W501.format(side=side, expected=expected, total=len(texts), found=shown),
                stacklevel=2,
            )


def _begin(parts: Path, plan: dict[str, Any]) -> None:
    """Note the settings beside the parts. RAISES: XNER511 if a stopped run had other ones."""
    path = parts / "plan.json"
    if path.exists():
        try:
            before = dict(read_json(path))
        except (ValueError, TypeError):
            before = {}
        changed = sorted(key for key in {*before, *plan} if before.get(key) != plan.get(key))
        if changed:
            raise XnerError(Errors.XNER511.format(folder=parts, changed=", ".join(changed)))
    write_json(path, plan)


def _digest(plan: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(plan, sort_keys=True).encode(), digest_size=8).hexdigest()
