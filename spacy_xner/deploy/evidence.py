"""Facts about a pipeline for its package: languages, clusters, training data, measured scores."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spacy.tokens import DocBin
from thinc.api import Config

from spacy_xner.corpus.names import file_source, find_files
from spacy_xner.corpus.origins import training_folder, training_reader, used_corpora
from spacy_xner.deploy.sources import FREE, find_encoders, licence_of_weights, not_free, source_of
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import read_json
from spacy_xner.report.figures import draw_calibration
from spacy_xner.storage import MANIFEST

DESCRIPTION = "Named entities in many languages, trained with spacy_xner."
TOTALS = ("p", "r", "f", "f_macro", "ece", "brier")
GROUPS = (
    "ents_per_language", "ents_per_type", "ents_per_corpus", "ents_per_corpus_language", "language_per_type",
)  # fmt: skip


class Evidence(NamedTuple):
    """Files that tell about a pipeline, beside its folder.

    metrics: Result of `evaluate`.
    corpus: Folder of corpus files that it was trained on; the one of its config by default.
    free: Refuse weights that were made from a corpus whose licence does not let everybody give them away.
    """

    metrics: Path | None = None
    corpus: Path | None = None
    free: bool = False


def describe_pipeline(model: Path, evidence: Evidence) -> dict[str, Any]:
    """The metadata of a package, with scores that were measured and no others.

    RETURNS: `meta.json` with `languages`, `clusters` (languages by cluster), `data` (training sentences by
        source), `corpora` (names of all that the weights go back to; see `corpus.origins`), `encoders`
        (pretrained weights with their licences), `calibrated` (languages whose probabilities are scaled),
        `sources`, `license`, `performance`.
    RAISES: XNER730 for metrics that `evaluate` has not written, XNER106 for a corpus without files, XNER731
        and XNER732 for weights that are to be free and are not.
    """
    meta = dict(read_json(model / "meta.json"))
    config = Config().from_disk(model / "config.cfg", interpolate=False)
    scores = read_metrics(evidence.metrics).get("scores", {})
    learnt = [_learnt(model / str(name)) for name in meta.get("components") or []]
    reader = training_reader(config)
    folder = evidence.corpus or training_folder(reader)
    data = _count_sentences(reader, folder) if folder else {}
    # The languages of the training's development sentences stand in its scores, which go otherwise: they
    # were measured before anything was trimmed.
    languages = _languages(meta, reader, data, scores)
    corpora = used_corpora(reader, folder) if folder else set()
    sources = {source: source_of(source) for source in [*data, *sorted(corpora - set(data))]}
    if evidence.free:
        _check_free(model, corpora)
    return {
        **meta,
        "description": meta.get("description") or DESCRIPTION,
        "license": licence_of_weights(corpora) or meta.get("license") or "",
        "languages": languages,
        "clusters": _clusters(config, learnt, languages),
        "data": [
            {
                "source": source,
                "title": sources[source].title,
                "license": sources[source].licence,
                "sentences": counts,
            }
            for source, counts in data.items()
        ],
        "corpora": sorted(corpora),
        "encoders": find_encoders(config),
        "calibrated": _calibrated(learnt),
        "sources": [{"name": row.title, "license": row.licence, "url": row.url} for row in sources.values()],
        "performance": measured_scores(scores),
    }


def read_metrics(path: Path | None) -> dict[str, Any]:
    """Read a file of `evaluate`. RETURNS: Its content; nothing without a file. RAISES: XNER730."""
    if path is None:
        return {}
    try:
        content = dict(read_json(path))
        measured_scores(content["scores"])
        if content.get("calibration"):
            draw_calibration(content["calibration"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise XnerError(Errors.XNER730.format(path=path, reason=repr(error))) from error
    return content


def measured_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of an evaluation under the names that the hub's tools read; None is left out.

    RETURNS: Shares, and `speed` in words a second.
    """
    names = (*(f"ents_{key}" for key in TOTALS), "language_acc", "routing_acc")
    measured: dict[str, Any] = {key: float(scores[key]) for key in names if scores.get(key) is not None}
    for group in GROUPS:
        if scores.get(group):
            measured[group] = {
                str(name): {key: float(row[key]) for key in ("p", "r", "f", "support")}
                for name, row in scores[group].items()
            }
    if scores.get("words_per_second") is not None:
        measured["speed"] = float(scores["words_per_second"])
    return measured


def _learnt(folder: Path) -> dict[str, Any]:
    """The learnt state of a component that is plain JSON; nothing for components of others."""
    path = folder / MANIFEST
    cfg = read_json(path).get("cfg") if path.is_file() else None
    return cfg if isinstance(cfg, dict) else {}


def _count_sentences(reader: Mapping[str, Any], folder: Path) -> dict[str, dict[str, int]]:
    """Training sentences by source and language."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    limit = int(reader.get("limit") or 0)
    files = find_files(folder, "train", reader.get("languages") or [], reader.get("sources") or [])
    for language, paths in files.items():
        for path in paths:
            n = len(DocBin().from_disk(path))
            counts[file_source(path)][language] = min(n, limit) if limit else n
    return dict(counts)


def _check_free(model: Path, names: Iterable[str]) -> None:
    """Refuse weights of corpora that are not free. RAISES: XNER731, XNER732."""
    names = sorted(names)
    if not names:
        raise XnerError(Errors.XNER732.format(path=model))
    if refused := not_free(names):
        corpora = ", ".join(f"{name} has the licence {licence!r}" for name, licence in refused.items())
        raise XnerError(Errors.XNER731.format(corpora=corpora, allowed=", ".join(FREE)))


def _languages(
    meta: Mapping[str, Any],
    reader: Mapping[str, Any],
    data: Mapping[str, Mapping[str, int]],
    scores: Mapping[str, Any],
) -> list[str]:
    """The languages of a pipeline: the first place that tells some."""
    places: list[Iterable[Any]] = [
        reader.get("languages") or [],
        (meta.get("labels") or {}).get("language_identifier") or [],
        (meta.get("performance") or {}).get("ents_per_language") or [],
        [language for counts in data.values() for language in counts],
        scores.get("ents_per_language") or [],
    ]
    return next((sorted({str(name) for name in place}) for place in places if place), [])


def _clusters(
    config: Config, learnt: Iterable[Mapping[str, Any]], languages: list[str]
) -> dict[str, list[str]]:
    """Languages by cluster: the grouping of a router, or the cluster of a tagger."""
    for cfg in learnt:
        if isinstance(cfg.get("clusters"), dict):
            return {str(name): [str(language) for language in row] for name, row in cfg["clusters"].items()}
    components = config.get("components", {}).values()
    settings = [row.get("clusters") for row in components]
    names = {str(name) for row in settings if isinstance(row, list) for name in row} - {"*"}
    return {name: languages for name in names} if len(names) == 1 else {}


def _calibrated(learnt: Iterable[Mapping[str, Any]]) -> list[str]:
    """Languages that have a scaling of their own."""
    scalings = [(cfg.get("calibration") or {}).get("scalings") or {} for cfg in learnt]
    return sorted({str(language) for row in scalings for language in row if language})
