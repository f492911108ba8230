"""Which languages share a tagger: one file format for every kind of grouping."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from spacy_xner.errors import Errors, XnerError

# Names become parts of paths and of package names.
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True)
class Grouping:
    """Languages in named, disjoint clusters.

    name: Kind of grouping, such as "family".
    clusters: Sorted languages by cluster.
    about: How the grouping came about: method, k, purity, source. Plain JSON.
    RAISES: XNER403 for a bad name, an empty cluster, or a language that stands in two clusters.
    """

    name: str
    clusters: dict[str, list[str]]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for cluster, languages in self.clusters.items():
            if not _NAME.fullmatch(cluster):
                self._refuse(f"the cluster name {cluster!r} is not lower case letters, digits and _")
            if (
                not languages
                or not isinstance(languages, list)
                or not all(isinstance(lang, str) and lang for lang in languages)
            ):
                self._refuse(f"the cluster {cluster!r} is not a list of languages")
            twice = seen.intersection(languages)
            if twice or len(set(languages)) < len(languages):
                self._refuse(f"{', '.join(sorted(twice or languages))} stand in it twice")
            seen.update(languages)
        if not self.clusters or not _NAME.fullmatch(self.name):
            self._refuse("it has no clusters or no name of lower case letters, digits and _")

    def _refuse(self, reason: str) -> None:
        raise XnerError(Errors.XNER403.format(where=f"{self.name!r}", reason=reason))

    @cached_property
    def cluster_of(self) -> dict[str, str]:
        """Cluster of every language."""
        return {lang: cluster for cluster, languages in self.clusters.items() for lang in languages}

    @property
    def languages(self) -> list[str]:
        """All languages, sorted."""
        return sorted(self.cluster_of)

    def restrict(self, languages: Iterable[str]) -> "Grouping":
        """Keep only some languages, and the clusters that have any of them.

        RAISES: XNER404 for a language that the grouping does not name.
        """
        wanted = set(languages)
        missing = sorted(wanted - set(self.languages))
        if missing:
            raise XnerError(Errors.XNER404.format(name=self.name, languages=", ".join(missing)))
        clusters = {
            cluster: sorted(wanted.intersection(members))
            for cluster, members in self.clusters.items()
            if wanted.intersection(members)
        }
        return Grouping(self.name, clusters, self.about)

    def to_json(self) -> dict[str, Any]:
        """Make the content of a grouping file."""
        return {"name": self.name, "clusters": self.clusters, **self.about}

    @classmethod
    def from_json(cls, content: Any, where: str) -> "Grouping":
        """Build a grouping from the content of a file. RAISES: XNER403.

        where: Name of the file or component, for the error.
        """
        if not isinstance(content, dict) or not isinstance(content.get("clusters"), dict):
            raise XnerError(Errors.XNER403.format(where=where, reason="it has no `clusters`"))
        about = {key: value for key, value in content.items() if key not in ("name", "clusters")}
        return cls(str(content.get("name", "")), content["clusters"], about)


def grouping_name(path: Path) -> str:
    """Derive the name of a grouping from its file's name. RAISES: XNER422 if that cannot be one."""
    name = path.stem.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise XnerError(Errors.XNER422.format(path=path))
    return name


def read_grouping(path: Path) -> Grouping:
    """Read a grouping file. RAISES: XNER403."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise XnerError(Errors.XNER403.format(where=path, reason=error)) from error
    return Grouping.from_json(content, str(path))
