"""Criteria of selection without target labels, computed from predictions on unlabelled text."""

from collections.abc import Sequence
from itertools import compress
from statistics import mean
from typing import Any

from spacy.scorer import PRFScore
from spacy.tokens import Doc

Entity = tuple[int, int, str]  # first character, end character, label


def describe_predictions(
    docs: Sequence[Doc], before: Sequence[Doc] | None, languages: Sequence[str | None], spans_key: str
) -> dict[str, dict[str, Any]]:
    """Measure the criteria language by language.

    before: The same documents as an earlier state of the model annotated them.
    RETURNS: `confidence`, `density` and, given `before`, `agreement`, by language.
    """
    scores = {}
    for language in sorted({language for language in languages if language}):
        of_language = [other == language for other in languages]
        now = list(compress(docs, of_language))
        scores[language] = {
            "confidence": confidence(now, spans_key),
            "density": density(now),
            "agreement": agreement(list(compress(before, of_language)), now) if before is not None else None,
        }
    return scores


def confidence(docs: Sequence[Doc], spans_key: str) -> float:
    """Mean probability of the predicted entities; 0 without any."""
    probabilities = [
        probability
        for doc in docs
        if spans_key in doc.spans
        for probability in doc.spans[spans_key].attrs.get("scores", ())
    ]
    return mean(probabilities) if probabilities else 0.0


def density(docs: Sequence[Doc]) -> float:
    """Predicted entities a sentence: falls where a model no longer finds those of a language."""
    return sum(len(doc.ents) for doc in docs) / max(1, len(docs))


def agreement(before: Sequence[Doc], now: Sequence[Doc]) -> float:
    """F1 of one model's entities against another's: how much an epoch still changes."""
    score = PRFScore()
    for old, new in zip(before, now, strict=True):
        score.score_set(entity_set(new), entity_set(old))
    return float(score.fscore)


def entity_set(doc: Doc) -> set[Entity]:
    """The entities of a document, as scores compare them."""
    return {(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents}
