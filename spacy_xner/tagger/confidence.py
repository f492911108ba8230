"""From the head's probabilities to those that are given out: scaled by language, and cut at a threshold."""

import math
from collections.abc import Mapping
from typing import Any

from spacy_xner.calibration import Scaling, of_language
from spacy_xner.errors import Errors, XnerError
from spacy_xner.tagger.decoding import Prediction

# A tagger's calibration as it stands in its manifest: temperature and offset, and threshold, by language.
NO_CALIBRATION: dict[str, dict[str, Any]] = {"scalings": {}, "thresholds": {}}


def adjust(
    prediction: Prediction, language: str | None, calibration: Mapping[str, Any], threshold: float
) -> Prediction:
    """Scale the probabilities of a document's entities, and drop those below the threshold.

    language: The language of the text, whose scaling and threshold are taken; the pooled ones without any.
    threshold: The lowest probability of all languages; a higher one of the language counts.
    """
    scores = prediction.probabilities
    if not scores:
        return prediction
    if calibration["scalings"]:
        scores = Scaling(*of_language(calibration["scalings"], language, Scaling())).apply(scores).tolist()
    lowest = max(threshold, of_language(calibration["thresholds"], language, 0.0))
    rows = [row for row in zip(prediction.spans, scores, strict=True) if row[1] >= lowest]
    return Prediction([span for span, _ in rows], [score for _, score in rows])


def check_calibration(name: str, calibration: Any) -> dict[str, dict[str, Any]]:
    """Look at a calibration from outside. RAISES: XNER188 for what is none."""
    try:
        scalings = {
            str(language): [float(temperature), float(offset)]
            for language, (temperature, offset) in calibration["scalings"].items()
        }
        thresholds = {str(language): float(value) for language, value in calibration["thresholds"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise XnerError(Errors.XNER188.format(name=name, calibration=calibration)) from error
    numbers_are_good = all(
        math.isfinite(offset) and 0.0 < temperature < math.inf for temperature, offset in scalings.values()
    )
    if not numbers_are_good or not all(0.0 <= value <= 1.0 for value in thresholds.values()):
        raise XnerError(Errors.XNER188.format(name=name, calibration=calibration))
    return {"scalings": scalings, "thresholds": thresholds}


def check_threshold(name: str, threshold: float, confidence: bool) -> float:
    """Look at a threshold from a config.

    RAISES: XNER186 for no probability, XNER189 for a threshold without probabilities to compare it with.
    """
    if not 0.0 <= threshold <= 1.0:
        raise XnerError(Errors.XNER186.format(setting="threshold", found=threshold))
    if threshold > 0.0 and not confidence:
        raise XnerError(Errors.XNER189.format(name=name, threshold=threshold))
    return threshold
