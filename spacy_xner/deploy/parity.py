"""Export of a pipeline under the eyes of a test corpus: what each language loses."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.training import Example

from spacy_xner.deploy.onnx import choose_settings, export_encoder, find_encoders, restore_encoder
from spacy_xner.deploy.onnx_graph import GraphSettings
from spacy_xner.errors import Errors, XnerError
from spacy_xner.evaluation import count_words_per_second
from spacy_xner.scoring import UNKNOWN_LANGUAGE, annotate
from spacy_xner.stability import Entity, entity_set

# Points of F1 that a language may lose.
MAX_LOSS = 0.3


class Parity(NamedTuple):
    """How the entities of a language change by an export.

    before, after: F1 in percent. n_differ: Entities that only one of the two pipelines finds.
    n_entities: Entities that the original pipeline finds.
    kept: Components of this language that stay as they were, because it would lose too much.
    """

    language: str
    before: float
    after: float
    n_differ: int
    n_entities: int
    kept: list[str]


class ExportReport(NamedTuple):
    """The outcome of an export.

    components: Names of the components whose encoder is exported.
    languages: By language. words_per_second: Before and after, on all texts of the corpus.
    """

    components: list[str]
    languages: list[Parity]
    words_per_second: tuple[float, float]


class _Run(NamedTuple):
    """F1 in percent, and entities of each text, by language; words a second."""

    f: dict[str, float]
    entities: dict[str, list[set[Entity]]]
    speed: float


def export_pipeline(
    nlp: Language,
    read: Callable[[], list[Example]],
    texts: list[str],
    *,
    settings: GraphSettings | None = None,
    max_loss: float = MAX_LOSS,
    path: object = "the pipeline",
) -> ExportReport:
    """Export all transformers of a pipeline in place.

    A tagger of a routed pipeline stays as it is if a language of its clusters loses too much.

    read: Gives the test examples anew.
    texts: Texts by which the ranges of whole numbers are measured; no test texts.
    settings: How the layers are written; by default in whole numbers, as suits this machine.
    max_loss: Points of F1 that a language may lose.
    RAISES: XNER160, XNER162, XNER165; XNER164 if a language loses more, and nothing is left to keep.
    """
    encoders = find_encoders(nlp)
    if not encoders:
        raise XnerError(Errors.XNER165.format(path=path))
    before = _run(nlp, read())
    settings = settings or choose_settings(int8=True)
    for encoder in encoders:
        export_encoder(encoder, settings, texts)
    after = _run(nlp, read())
    unchanged: dict[str, list[str]] = {}
    lost = _losers(before, after, max_loss)
    if lost:
        unchanged = {language: _taggers(nlp, language) for language in lost}
        names = {name for taggers in unchanged.values() for name in taggers}
        for encoder in encoders:
            if encoder.component in names:
                restore_encoder(encoder)
        encoders = [encoder for encoder in encoders if encoder.component not in names]
        if names:
            after = _run(nlp, read())
        lost = _losers(before, after, max_loss)
    rows = [_compare(language, before, after, unchanged.get(language, [])) for language in sorted(before.f)]
    if lost or not encoders:
        table = "\n".join(
            f"{row.language}: {row.before:.1f} before, {row.after:.1f} after, "
            f"{row.n_differ} of {row.n_entities} entities differ"
            for row in rows
        )
        raise XnerError(Errors.XNER164.format(limit=max_loss, table=table))
    return ExportReport([encoder.component for encoder in encoders], rows, (before.speed, after.speed))


def _run(nlp: Language, examples: list[Example]) -> _Run:
    speed = count_words_per_second(nlp, [example.reference.text for example in examples])
    scores = annotate(nlp, examples)
    entities = defaultdict(list)
    for example in examples:
        entities[example.reference._.language or UNKNOWN_LANGUAGE].append(entity_set(example.predicted))
    by_language = scores.get("ents_per_language") or {}
    return _Run({name: 100 * score["f"] for name, score in by_language.items()}, entities, speed)


def _losers(before: _Run, after: _Run, max_loss: float) -> list[str]:
    # Rounding must not decide where the loss is just the limit.
    return [name for name, f in before.f.items() if f - after.f.get(name, 0.0) > max_loss + 1e-6]


def _taggers(nlp: Language, language: str) -> list[str]:
    """Components of a routed pipeline that tag a language; none without a router."""
    if "cluster_router" not in nlp.pipe_names:
        return []
    router: Any = nlp.get_pipe("cluster_router")
    cluster = router.grouping.cluster_of.get(language)
    return [name for name, pipe in nlp.pipeline if cluster in getattr(pipe, "clusters", ())]


def _compare(language: str, before: _Run, after: _Run, unchanged: list[str]) -> Parity:
    pairs = list(zip(before.entities[language], after.entities[language], strict=True))
    return Parity(
        language,
        before.f[language],
        after.f[language],
        n_differ=sum(len(a ^ b) for a, b in pairs),
        n_entities=sum(len(a) for a, _ in pairs),
        kept=unchanged,
    )
