"""Calibrate the taggers of a pipeline on labelled sentences that they have not seen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.training import Example

from spacy_xner.attributes import is_labelled
from spacy_xner.calibration import (
    POOLED,
    Scaling,
    expected_calibration_error,
    find_threshold,
    fit_scalings,
    risk_coverage,
    scaling_of,
)
from spacy_xner.errors import Errors, XnerError
from spacy_xner.scoring import Outcome, annotate, collect_outcomes
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.confidence import NO_CALIBRATION
from spacy_xner.tagger.segments import is_routed_to


class Target(NamedTuple):
    """A promise about what is given out.

    precision: Lowest share of right entities.
    error_rate: Probability, over the sentences that were drawn for calibration, that the promise is broken.
    """

    precision: float
    error_rate: float = 0.1


class Row(NamedTuple):
    """Calibration of a tagger in one language, measured on the sentences that it was not fitted on.

    n_entities: Predicted entities in these sentences.
    before: Expected calibration error of the head's probabilities.
    after: The same once they are scaled.
    area: Area under the curve of risk by coverage, which scaling within a language leaves as it is.
    threshold: Lowest probability of the target; None if these sentences show none, or there is no target.
    share: Entities that the threshold lets through.
    """

    pipe: str
    language: str
    n_entities: int
    before: float
    after: float
    area: float
    threshold: float | None
    share: float


def calibrate_pipeline(nlp: Language, examples: Sequence[Example], target: Target | None = None) -> list[Row]:
    """Fit scalings and thresholds of all entity taggers, and put them into the taggers.

    Every second sentence of each language is fitted on. The other half measures the result and gives the
    thresholds, so that their promise holds for text like these sentences. The pooled threshold serves
    languages without labels here, for which nothing is promised, and text whose language is not told. Where
    the pipeline has nothing that finds languages, it is found on probabilities that have the pooled scaling.

    RAISES: XNER185 for a tagger whose entities are all right or all wrong, XNER190 without a tagger,
        XNER191 if no entity of a tagger got a probability.
    """
    taggers = [(name, pipe) for name, pipe in nlp.pipeline if isinstance(pipe, EntityTagger)]
    if not taggers:
        raise XnerError(Errors.XNER190.format(pipes=", ".join(nlp.pipe_names)))
    thresholds = [tagger.threshold for _, tagger in taggers]
    for _, tagger in taggers:
        tagger.cfg["calibration"] = NO_CALIBRATION
        tagger.threshold = 0.0
    annotate(nlp, list(examples))
    rows: list[Row] = []
    for (name, tagger), threshold in zip(taggers, thresholds, strict=True):
        tagger.threshold = threshold
        rows += _calibrate(name, tagger, examples, target)
    return rows


def _calibrate(
    pipe: str, tagger: EntityTagger, examples: Sequence[Example], target: Target | None
) -> list[Row]:
    fitted, measured = _outcomes(tagger, examples)
    if not fitted or not measured:
        raise XnerError(Errors.XNER191.format(name=pipe, n=len(fitted) + len(measured)))
    scores, right, languages, _ = zip(*fitted, strict=True)
    scalings = fit_scalings(scores, right, languages)
    thresholds, rows = {}, []
    for language in [POOLED, *sorted({outcome.language for outcome in measured})]:
        # Probabilities are scaled as they will be: by the language that was told, or else by this row's.
        chosen = [
            (row.score, row.is_right, _scale(row.score, scaling_of(scalings, row.told or language)))
            for row in measured
            if language in (POOLED, row.language)
        ]
        before, is_right, after = zip(*chosen, strict=True)
        threshold = find_threshold(after, is_right, *target) if target is not None else None
        if threshold is not None:
            thresholds[language] = threshold
        rows.append(
            Row(
                pipe,
                language or "all",
                len(chosen),
                expected_calibration_error(before, is_right),
                expected_calibration_error(after, is_right),
                risk_coverage(after, is_right).area,
                threshold,
                sum(score >= (threshold or 0.0) for score in after) / len(after),
            )
        )
    tagger.cfg["calibration"] = {
        "scalings": {language: list(scaling) for language, scaling in scalings.items()},
        "thresholds": thresholds,
    }
    return rows


def _scale(score: float, scaling: Scaling) -> float:
    return float(scaling.apply([score])[0])


def _outcomes(tagger: EntityTagger, examples: Sequence[Example]) -> tuple[list[Outcome], list[Outcome]]:
    """The outcomes of a tagger's entities, in two halves; each language's sentences take turns."""
    halves: tuple[list[Outcome], list[Outcome]] = ([], [])
    n_seen: dict[str | None, int] = {}
    for example in examples:
        if not is_routed_to(example.predicted, tagger.clusters) or not is_labelled(example.reference):
            continue
        language: Any = example.reference._.language
        n_seen[language] = n_seen.get(language, 0) + 1
        halves[n_seen[language] % 2].extend(collect_outcomes([example], tagger.spans_key))
    return halves
