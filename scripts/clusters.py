"""One tagger a cluster, for several groupings of the languages.

SOURCE: Shaffer 2021, Tables 3 to 5, Figure 2.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import spacy

from spacy_xner.corpus.names import find_files
from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import read_examples
from spacy_xner.files import read_json
from spacy_xner.router.grouping import Grouping, read_grouping
from spacy_xner.scoring import annotate, count_by_sentence

from scripts.overrides import TRANSFORMER, Trained
from scripts.results import DESCRIPTION, pack_counts, score_rows
from scripts.runner import Run, Settings

COMBINATIONS = ("cluster", "other", "all-combined", "cluster-combined")


class Clusters(Trained):
    """Train a tagger for every cluster of every grouping, and test it on the cluster's languages.

    Groupings that share a cluster share its run: a cluster of one language is a monolingual model. As in the
    paper no epoch is selected: the last weights count. The first grouping's pipelines go to `paths.keep`.
    """

    kind = "clusters"
    required = ("grouping",)
    # grouping: A file of clusters; the axis has several. languages: Languages of the runs; empty for all.
    # held_out: Languages that their clusters of the first grouping are trained without, and tested on.
    # combination: Name of what is trained on for the test of another corpus, `other`.
    # window: Wordpieces that are read at once.
    # trained_on, tested_on, test_sources: They follow from the others.
    defaults = TRANSFORMER | {
        "grouping": None, "languages": [], "sources": [], "held_out": [], "combination": "", "other": "",
        "limit": 1000, "dev_limit": 200, "test_limit": 2000, "batch_size": 20, "window": 512, "frozen": 6,
        "trained_on": [], "tested_on": [], "test_sources": [],
    }  # fmt: skip

    def groupings(self) -> list[Grouping]:
        """All groupings of the experiment with the languages of the corpus; the first is the one to keep."""
        settings = {**self.defaults, **self.settings}
        files = find_files(self.paths["corpus"], "train", settings["languages"], settings["sources"])
        return [
            read_grouping(Path(path)).restrict(files)
            for path in self.axes.get("grouping", [settings["grouping"]])
        ]

    def describe(self) -> Settings:
        """Add the clusters, which name the columns of tables."""
        return {**super().describe(), "groupings": [grouping.to_json() for grouping in self.groupings()]}

    def obstacle(self) -> str:
        """A language can be held out only of a cluster that has others to train on."""
        held_out = set({**self.defaults, **self.settings}["held_out"])
        clusters = [set(languages) for languages in self.groupings()[0].clusters.values()]
        if not held_out or any(held_out & languages and languages - held_out for languages in clusters):
            return ""
        return f"every cluster with {', '.join(sorted(held_out))} has no other language to train on."

    def expand(self, settings: Settings) -> Iterable[Settings]:
        """Plan a run a cluster, or the run of a combination. RAISES: XNER808."""
        paths = self.axes.get("grouping", [settings["grouping"]])
        grouping = self.groupings()[paths.index(settings["grouping"])]
        # Equal clusters of two groupings are one run.
        shared = {**settings, "grouping": None, "test_sources": settings["sources"]}
        if settings["combination"]:
            yield {**shared, **self._combine(grouping, settings)}
            return
        for languages in grouping.clusters.values():
            held_out = sorted(set(languages).intersection(settings["held_out"]))
            rest = sorted(set(languages).difference(held_out))
            if not settings["held_out"] or (held_out and rest):
                yield {**shared, "trained_on": rest, "tested_on": held_out or languages}

    def _combine(self, grouping: Grouping, settings: Settings) -> Settings:
        """Combine train sets with another corpus of one language, and test on it (the paper's Table 5)."""
        combination, known = settings["combination"], ", ".join(COMBINATIONS)
        if combination not in COMBINATIONS:
            raise XnerError(Errors.XNER808.format(setting="combination", known=known, found=combination))
        other, sources = settings["other"], settings["sources"]
        [language, *_] = find_files(self.paths["corpus"], "train", [], [other])
        cluster = grouping.clusters[grouping.cluster_of[language]]
        languages, trained_sources = {
            "cluster": (cluster, sources),
            "other": ([language], [other]),
            "all-combined": (grouping.languages, [*sources, other] if sources else []),
            "cluster-combined": (cluster, [*sources, other] if sources else []),
        }[combination]
        tested = {"tested_on": [language], "test_sources": [other]}
        return {"trained_on": languages, "sources": trained_sources, **tested}

    def axes_of(self, settings: Settings) -> Settings:
        """A run is known by its languages, not by the grouping that asked for it first."""
        names = [axis for axis in self.axes if axis not in ("grouping", "held_out")]
        names += ["trained_on"] + ["tested_on"] * (settings["tested_on"] != settings["trained_on"])
        names += ["sources", "test_sources"] * bool(settings["combination"])
        return {name: settings[name] for name in names}

    def _cluster(self, run: Run) -> str | None:
        """The cluster of the first grouping that a run's pipeline is kept for."""
        if "keep" not in self.paths or run["seed"] != self.axes.get("seed", [run["seed"]])[0]:
            return None
        if run["tested_on"] != run["trained_on"] or run["combination"]:
            return None
        clusters = self.groupings()[0].clusters.items()
        return next((name for name, languages in clusters if languages == run["trained_on"]), None)

    def place(self, run: Run) -> Path | None:
        """Keep the first grouping's pipelines, by cluster."""
        cluster = self._cluster(run)
        return None if cluster is None else self.paths["keep"] / cluster

    def forget(self, out: Path) -> None:
        """Remove pipelines of clusters that are no more: they would be packaged with the others."""
        if "keep" in self.paths and (out / DESCRIPTION).exists():
            for cluster in read_json(out / DESCRIPTION)["groupings"][0]["clusters"]:
                shutil.rmtree(self.paths["keep"] / cluster, ignore_errors=True)

    def train(self, run: Run, work: Path) -> dict[str, Any]:
        """Train one tagger, and score it on the tests of its languages."""
        cluster = self._cluster(run)
        changes = {
            "vars.clusters": ["*"] if cluster is None else [cluster],
            "components.ner.model.tok2vec.window": run["window"],
        }
        fitted, outcome = self.fit_labels(run, run["trained_on"], changes, work, n_scored=1)
        nlp = spacy.load(fitted.folder / "model-last")
        where = (self.paths["corpus"], "test", run["tested_on"], run["test_limit"], run["test_sources"])
        examples = read_examples(nlp, *where)
        scores = annotate(nlp, examples)
        if cluster is not None:
            (fitted.folder / "model-last").rename(work / "kept")
        return {
            **outcome,
            "scores": score_rows(scores),
            "counts": pack_counts(count_by_sentence(examples)),
        }
