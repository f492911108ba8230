"""The pipeline component that sends texts to the taggers of their languages: `ClusterRouter`."""

import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_get_examples
from spacy.vocab import Vocab

from spacy_xner.arrays import to_unit_length
from spacy_xner.attributes import (
    CLUSTER_SPANS,
    LANGUAGE_SPANS,
    is_blank,
    preset_language,
    register_attributes,
)
from spacy_xner.errors import Errors, Warnings, XnerError
from spacy_xner.router.grouping import Grouping, read_grouping
from spacy_xner.router.identifier import LanguageIdentifier
from spacy_xner.storage import check_array
from spacy_xner.stored import PipelineRef, StoredPipe
from spacy_xner.tagger.component import EntityTagger

Floats = NDArray[numpy.float32]


class ClusterRouter(StoredPipe, Pipe):
    """Set `doc._.cluster` by the language of a document, or by its vector where that is not enough.

    A known language that was preset decides alone. Otherwise the cluster whose languages have the greatest
    probability together wins, if that is at least the threshold. Everything else, unseen languages and text
    that changes its language, goes to the cluster of the language with the nearest mean vector. The
    router only annotates: taggers with `clusters = [...]` do the work. Segments of a document
    (`level = "sentence"` in the identifier) are routed each by itself, in `doc.spans["clusters"]`.
    `doc._.cluster_score` is the probability, or the cosine similarity to the nearest mean.

    threshold: Probability of a cluster below which the vector decides.
    fallback: Cluster for text that is like no known language; none sends it to the nearest one.
    fallback_threshold: Cosine similarity below which the fallback is taken.
    nlp: The pipeline whose taggers are compared with the grouping when it is loaded.
    """

    def __init__(
        self,
        vocab: Vocab,
        name: str = "cluster_router",
        *,
        threshold: float,
        fallback: str | None,
        fallback_threshold: float,
        nlp: Language | None = None,
    ) -> None:
        register_attributes()
        self.vocab = vocab
        self.name = name
        self.threshold = threshold
        self.fallback = fallback
        self.fallback_threshold = fallback_threshold
        self.pipeline = PipelineRef(nlp)
        self.grouping: Grouping | None = None
        self._set_means({})

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        grouping: Path | str | dict[str, Any] | None = None,
        n_texts: int = 200,
    ) -> None:
        """Read the grouping and compute the mean vector of every language.

        grouping: A grouping file or its content.
        n_texts: At most so many texts a language for the means, which need an identifier before.
        RAISES: XNER403, XNER404 for languages of the examples that it does not name, XNER406 without
            a grouping, XNER409.
        """
        validate_get_examples(get_examples, "ClusterRouter.initialize")
        if grouping is None:
            raise XnerError(Errors.XNER406.format(name=self.name))
        if isinstance(grouping, dict):
            self.set_grouping(Grouping.from_json(grouping, self.name))
        else:
            self.set_grouping(read_grouping(Path(grouping)))
        texts: dict[str, list[str]] = {}
        for example in get_examples():
            language = example.reference._.language
            if language and example.reference.text.strip():
                texts.setdefault(language, []).append(example.reference.text)
        self._table.restrict(texts)
        if nlp is None:
            return
        before = (
            list(nlp.pipe_names)[: nlp.pipe_names.index(self.name)] if self.name in nlp.pipe_names else []
        )
        means = {}
        for language, examples in texts.items():
            docs: Iterable[Doc] = map(nlp.make_doc, islice(examples, n_texts))
            for pipe in map(nlp.get_pipe, before):
                docs = pipe.pipe(docs) if hasattr(pipe, "pipe") else map(pipe, docs)
            rows = [doc.spans[LANGUAGE_SPANS].attrs["vectors"] for doc in docs if LANGUAGE_SPANS in doc.spans]
            if rows:
                means[language] = numpy.concatenate(rows).mean(0)
        self._set_means(means)

    def set_grouping(self, grouping: Grouping) -> None:
        """Route by this grouping from now on. RAISES: XNER409."""
        if self.fallback is not None and self.fallback not in grouping.clusters:
            clusters = ", ".join(grouping.clusters)
            raise XnerError(Errors.XNER409.format(fallback=self.fallback, name=self.name, clusters=clusters))
        self.grouping = grouping

    def _set_means(self, means: dict[str, Floats]) -> None:
        self.means = {language: means[language].astype("float32") for language in sorted(means)}
        # Directions only, and relative to the middle of all languages: raw vectors of one encoder all
        # point much the same way.
        self._languages = list(self.means)
        rows = numpy.stack(list(self.means.values())) if means else numpy.zeros((0, 1), dtype="float32")
        self._centre = rows.mean(0) if means else numpy.zeros(1, dtype="float32")
        self._directions = to_unit_length(rows - self._centre)

    @property
    def _table(self) -> Grouping:
        if self.grouping is None:
            raise XnerError(Errors.XNER406.format(name=self.name))
        return self.grouping

    def __call__(self, doc: Doc) -> Doc:
        """Route one document.

        RAISES: XNER350 for a preset language that is no code, XNER406 before initialization, XNER407 for a
            document without a language and without vectors.
        """
        cluster_of = self._table.cluster_of
        language = preset_language(doc, cluster_of)
        if doc._.cluster is not None or is_blank(doc):
            return doc
        segments = doc.spans.get(LANGUAGE_SPANS)
        if segments is None and language in cluster_of:
            doc._.cluster, doc._.cluster_score = cluster_of[language], 1.0
            return doc
        if segments is None or not len(segments):
            if self.fallback is None and language is None:
                raise XnerError(Errors.XNER407.format(name=self.name, text=doc.text[:40]))
            # Known, and in no cluster: there is no vector that would say which is the nearest.
            doc._.cluster, doc._.cluster_score = self._far(0.0)
            return doc
        routes = [
            self._route(segment.label_, probabilities, vector)
            for segment, probabilities, vector in zip(
                segments, segments.attrs["probabilities"], segments.attrs["vectors"], strict=True
            )
        ]
        doc.spans[CLUSTER_SPANS] = [
            Span(doc, segment.start, segment.end, label=cluster)
            for segment, (cluster, _) in zip(segments, routes, strict=True)
        ]
        doc.spans[CLUSTER_SPANS].attrs["scores"] = [score for _, score in routes]
        doc._.cluster, doc._.cluster_score = _heaviest([len(s) for s in segments], routes)
        return doc

    def _route(self, language: str, probabilities: dict[str, float], vector: Floats) -> tuple[str, float]:
        """RETURNS: Cluster and score of one segment."""
        cluster_of = self._table.cluster_of
        if language not in probabilities and language in cluster_of:
            return cluster_of[language], 1.0
        if language in probabilities:
            shares = dict.fromkeys(self._table.clusters, 0.0)
            for name, probability in probabilities.items():
                if name in cluster_of:
                    shares[cluster_of[name]] += probability
            best = max(shares, key=shares.__getitem__)
            if shares[best] >= self.threshold or not self._languages:
                return best, shares[best]
        if not self._languages:
            return self._far(0.0)
        similarities = self._directions @ to_unit_length(vector - self._centre)
        known = [i for i, name in enumerate(self._languages) if name in cluster_of]
        nearest = max(known, key=similarities.__getitem__)
        score = float(similarities[nearest])
        if score < self.fallback_threshold and self.fallback is not None:
            return self._far(score)
        return cluster_of[self._languages[nearest]], score

    def _far(self, score: float) -> tuple[str, float]:
        """RETURNS: The fallback, or the largest cluster if there is none."""
        clusters = self._table.clusters
        return self.fallback or max(clusters, key=lambda name: len(clusters[name])), score

    SETTINGS = ("threshold", "fallback", "fallback_threshold")
    PARTS = ("means.safetensors",)
    OLD_CFG = "grouping.json"

    def save_cfg(self) -> dict[str, Any] | None:
        return None if self.grouping is None else self.grouping.to_json()

    def load_cfg(self, cfg: dict[str, Any]) -> None:
        """Take the grouping over. RAISES: XNER403, XNER409."""
        self.set_grouping(Grouping.from_json(cfg, self.name))

    def save_part(self, part: str) -> bytes:
        return save_arrays(self.means)

    def load_part(self, part: str, content: bytes) -> None:
        self._set_means(load_arrays(content))

    def check_loaded(self) -> None:
        """Compare the grouping with the means, and with the taggers of the pipeline.

        RAISES: XNER410, XNER411.
        """
        if self.grouping is None:
            return
        self._check_means(self.grouping)
        nlp = self.pipeline()
        taggers = [pipe for _, pipe in nlp.components if isinstance(pipe, EntityTagger)] if nlp else []
        for tagger in taggers:
            unknown = sorted({*tagger.clusters} - {"*", *self.grouping.clusters})
            if unknown:
                clusters = ", ".join(self.grouping.clusters)
                raise XnerError(
                    Errors.XNER410.format(
                        tagger=tagger.name, unknown=", ".join(unknown), name=self.name, clusters=clusters
                    )
                )
        taken = {cluster for tagger in taggers for cluster in tagger.clusters}
        idle = [cluster for cluster in self.grouping.clusters if cluster not in taken]
        if taggers and idle and "*" not in taken:
            # No error: a user may leave a tagger out, and look at the languages of the others alone.
            warnings.warn(Warnings.W331.format(clusters=", ".join(idle), name=self.name), stacklevel=2)

    def _check_means(self, grouping: Grouping) -> None:
        for language, mean in self.means.items():
            check_array(mean, f"of {language}", self.name)
            if language not in grouping.cluster_of:
                reason = f"there is one of {language!r}, which the grouping does not name"
                raise XnerError(Errors.XNER411.format(name=self.name, reason=reason))
        nlp = self.pipeline()
        identifiers = [p for _, p in nlp.components if isinstance(p, LanguageIdentifier)] if nlp else []
        for identifier in identifiers if self.means else ():
            width, n_numbers = identifier.width, len(self._centre)
            if width is not None and width != n_numbers:
                reason = f"they have the width {n_numbers}, the vectors of {identifier.name!r} {width}"
                raise XnerError(Errors.XNER411.format(name=self.name, reason=reason))


def _heaviest(sizes: list[int], routes: list[tuple[str, float]]) -> tuple[str, float]:
    """The cluster with the most tokens, and the mean score of its segments by tokens."""
    tokens: dict[str, int] = {}
    scores: dict[str, float] = {}
    for size, (cluster, score) in zip(sizes, routes, strict=True):
        tokens[cluster] = tokens.get(cluster, 0) + size
        scores[cluster] = scores.get(cluster, 0.0) + size * score
    best = max(tokens, key=tokens.__getitem__)
    return best, scores[best] / tokens[best]
