"""Score a pipeline on a corpus: entities, languages, routes, speed, examples right and wrong."""

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.attributes import unannotated_labels
from spacy_xner.calibration import reliability, risk_coverage
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.errors import check_counts
from spacy_xner.scoring import UNKNOWN_LANGUAGE, Outcome, annotate, collect_outcomes

# Points of a curve in the JSON file.
N_POINTS = 200


class Evaluation(NamedTuple):
    """The result of an evaluation; the fields are those of its JSON file.

    scores: Scores of the pipeline's scorers, `words_per_second`, and `routing_acc` of a routed pipeline.
    confusion: Gold languages against predicted ones; None for a pipeline that identifies none.
    examples: Some right and some wrong predictions of every language.
    calibration: The curves of reliability and of risk by coverage; None without probabilities.
    """

    scores: dict[str, Any]
    confusion: dict[str, Any] | None
    examples: list[dict[str, Any]]
    calibration: dict[str, Any] | None = None


def evaluate_pipeline(nlp: Language, examples: list[Example], n_examples: int = 2) -> Evaluation:
    """Score a pipeline on examples, which hold its predictions afterwards.

    n_examples: Right and wrong predictions to show, so many of each for every language.
    RAISES: XNER122.
    """
    check_counts(n_examples=n_examples)
    speed = count_words_per_second(nlp, [example.reference.text for example in examples])
    scores = {**annotate(nlp, examples), "words_per_second": speed}
    if "cluster_router" in nlp.pipe_names:
        router: Any = nlp.get_pipe("cluster_router")
        scores["routing_acc"] = score_routing(examples, router.grouping.cluster_of)
    # Test files without annotation have scores of None.
    has_languages, has_entities = (scores.get(key) is not None for key in ("language_acc", "ents_f"))
    return Evaluation(
        scores,
        confuse_languages(examples) if has_languages else None,
        show_examples(examples, n_examples) if has_entities else [],
        describe_calibration(collect_outcomes(examples, _spans_key(nlp))) if has_entities else None,
    )


def _spans_key(nlp: Language) -> str:
    """The key under which the pipeline's taggers leave probabilities."""
    keys = [key for _, pipe in nlp.pipeline if (key := getattr(pipe, "spans_key", ""))]
    return keys[0] if keys else "xner"


def describe_calibration(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """Describe the curves of probabilities and outcomes as JSON.

    RETURNS: `bins` (see `calibration.Bin`), points of the curve as `coverage` and `risk`, the `area` under
        it, and `n_entities`; None without any entity.
    """
    if not outcomes:
        return None
    scores, right = [row.score for row in outcomes], [row.is_right for row in outcomes]
    curve = risk_coverage(scores, right)
    # Neighbouring points of many entities look the same; the last one is the risk of all.
    n = len(curve.coverage)
    points = sorted({min(n - 1, round(i * n / N_POINTS)) for i in range(N_POINTS + 1)})
    return {
        "n_entities": n,
        "bins": [row._asdict() for row in reliability(scores, right)],
        "coverage": [float(curve.coverage[i]) for i in points],
        "risk": [float(curve.risk[i]) for i in points],
        "area": curve.area,
    }


def read_examples(
    nlp: Language,
    corpus: Path,
    split: str,
    languages: Sequence[str],
    limit: int,
    sources: Sequence[str] | None = None,
    *,
    known_language: bool = False,
) -> list[Example]:
    """Read the test examples of all languages.

    known_language: Tell the pipeline the languages; otherwise it has to find them out.

    RAISES: XNER106, XNER122.
    """
    reader = create_multilingual_corpus(
        corpus,
        split=split,
        languages=list(languages),
        sources=list(sources or []),
        limit=limit,
        known_language=known_language,
    )
    return list(reader(nlp))


def count_words_per_second(nlp: Language, texts: list[str]) -> float:
    """Run a pipeline on texts. RETURNS: Tokens a second."""
    start = time.perf_counter()
    n_words = sum(len(doc) for doc in nlp.pipe(texts))
    return n_words / (time.perf_counter() - start)


def confuse_languages(examples: list[Example]) -> dict[str, Any]:
    """Count predicted languages (columns) of each gold language (rows).

    RETURNS: `languages`, the names of rows and columns, and `counts`.
    """
    # scikit-learn takes a second to be imported.
    from sklearn.metrics import confusion_matrix

    pairs = [(eg.reference._.language, eg.predicted._.language or UNKNOWN_LANGUAGE) for eg in examples]
    languages = sorted({language for pair in pairs for language in pair if language})
    gold, predicted = zip(*(pair for pair in pairs if pair[0]), strict=True)
    return {
        "languages": languages,
        "counts": confusion_matrix(gold, predicted, labels=languages).tolist(),
    }


def score_routing(examples: list[Example], cluster_of: Mapping[str, str]) -> float:
    """Share of texts that went to the cluster of their gold language."""
    known = [eg for eg in examples if eg.reference._.language in cluster_of]
    right = [eg.predicted._.cluster == cluster_of[eg.reference._.language] for eg in known]
    return sum(right) / max(1, len(right))


def show_examples(examples: list[Example], n: int) -> list[dict[str, Any]]:
    """Choose the first `n` right and the first `n` wrong predictions of every language."""
    chosen: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for example in examples:
        left_out = unannotated_labels(example.reference)
        gold, predicted = _describe(example.reference), _describe(example.predicted, left_out)
        language = example.reference._.language
        group = chosen.setdefault((language, gold == predicted), [])
        if len(group) < n and gold:
            group.append(
                {
                    "language": language,
                    "right": gold == predicted,
                    "text": example.reference.text,
                    "gold": gold,
                    "predicted": predicted,
                }
            )
    return [row for key in sorted(chosen) for row in chosen[key]]


def _describe(doc: Doc, left_out: Collection[str] = ()) -> list[dict[str, Any]]:
    """Entities as displaCy's manual mode takes them. left_out: Labels that nobody can judge."""
    return [
        {"start": e.start_char, "end": e.end_char, "label": e.label_}
        for e in doc.ents
        if e.label_ not in left_out
    ]
