"""Entity scores: overall, by language, by label and by entity length; language scores."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

from spacy.attrs import ENT_IOB
from spacy.language import Language
from spacy.scorer import PRFScore, Scorer
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.attributes import is_labelled, language_of, preset_of, register_attributes, unannotated_labels
from spacy_xner.calibration import brier_score, expected_calibration_error
from spacy_xner.stability import Entity, confidence, entity_set

UNKNOWN_LANGUAGE = "und"  # ISO 639's "undetermined"


def annotate(nlp: Language, examples: list[Example]) -> dict[str, Any]:
    """Run the pipeline on the examples themselves, which `nlp.evaluate` copies, and score them."""
    for example, doc in zip(examples, nlp.pipe(eg.predicted for eg in examples), strict=True):
        example.predicted = doc
    return Scorer(nlp=nlp).score(examples)


def create_entity_scorer(spans_key: str = "xner") -> Callable[..., dict[str, Any]]:
    """Create the scorer of the entity tagger; see `score_entities`."""
    return partial(score_entities, spans_key=spans_key)


def score_entities(examples: Iterable[Example], spans_key: str = "xner", **kwargs: Any) -> dict[str, Any]:
    """Score predicted entities: right means the same characters and the same label.

    Unlabelled references are left out of all but `ents_confidence`. Nothing that is found of a label counts
    where nobody looked for it (`doc._.unannotated`). The numbers are micro averages, those
    of CoNLL's conlleval and of seqeval; `ents_f_macro` is the plain mean of the languages' F-scores.

    spans_key: Where the tagger leaves the probabilities of entities.
    RETURNS: `ents_p`, `ents_r`, `ents_f`, `ents_f_macro`, and p, r, f, support by language
        (`ents_per_language`), label (`ents_per_type`), language and label
        (`ents_per_language_type`), tokens in the entity (`ents_per_length`: 1, 2, 3+), corpus
        (`ents_per_corpus`), and corpus and language (`ents_per_corpus_language`), where the reader says
        which corpus a document is of;
        `ents_ece` and `ents_brier`: how far the probabilities of entities are from the share of them that
        is right, by bins and squared;
        `ents_confidence`: mean probability of the entities found in unlabelled text, the plain mean of its
        languages: a way to select a model without labels.
    """
    register_attributes()
    total = PRFScore()
    groups: dict[str, dict[str, PRFScore]] = {
        name: defaultdict(PRFScore)
        for name in ("language", "type", "language_type", "length", "corpus", "corpus_language")
    }
    n_examples = 0
    unlabelled: dict[str, list[Doc]] = defaultdict(list)
    outcomes: list[Outcome] = []
    for example in examples:
        if not is_labelled(example.reference):
            unlabelled[example.reference._.language or UNKNOWN_LANGUAGE].append(example.predicted)
            continue
        n_examples += 1
        language = example.reference._.language or UNKNOWN_LANGUAGE
        gold = entity_set(example.reference)
        predicted = _known(entity_set(example.predicted), example.reference)
        total.score_set(predicted, gold)
        outcomes += judge(example, predicted & gold, predicted, spans_key)
        groups["language"][language].score_set(predicted, gold)
        if corpus := example.reference._.corpus:
            groups["corpus"][corpus].score_set(predicted, gold)
            groups["corpus_language"][f"{corpus}:{language}"].score_set(predicted, gold)
        for entity in gold | predicted:
            outcome = (int(entity in predicted), int(entity in gold))
            length = _length_group(example.reference, entity)
            label = entity[2]
            for group, key in (
                ("type", label),
                ("language_type", f"{language}:{label}"),
                ("length", length),
            ):
                _count(groups[group][key], *outcome)
    confidences = [confidence(docs, spans_key) for docs in unlabelled.values()]
    unlabelled_score = {"ents_confidence": mean(confidences) if confidences else None}
    if n_examples == 0:
        keys = ("p", "r", "f", "f_macro", "ece", "brier", *(f"per_{name}" for name in groups))
        return {**unlabelled_score, **{f"ents_{key}": None for key in keys}}
    by_language = groups["language"].values()
    return {
        **unlabelled_score,
        **_calibration_scores(outcomes),
        "ents_p": total.precision,
        "ents_r": total.recall,
        "ents_f": total.fscore,
        "ents_f_macro": sum(score.fscore for score in by_language) / len(by_language),
        **{f"ents_per_{name}": _to_dicts(group) for name, group in groups.items()},
    }


def score_labels(examples: Iterable[Example], labels: Collection[str]) -> PRFScore:
    """Score the entities of some labels alone; unlabelled references are left out."""
    total = PRFScore()
    for example in examples:
        if is_labelled(example.reference):
            predicted = _known(entity_set(example.predicted), example.reference)
            gold = entity_set(example.reference)
            total.score_set({e for e in predicted if e[2] in labels}, {e for e in gold if e[2] in labels})
    return total


class Outcome(NamedTuple):
    """A predicted entity with a probability: was it right?

    language: The language by the annotation.
    told: The language that the document had when it was tagged, if any.
    """

    score: float
    is_right: bool
    language: str
    told: str | None = None


def judge(example: Example, right: set[Entity], judged: set[Entity], spans_key: str) -> list[Outcome]:
    """Pair the probabilities that a tagger gave its entities with their outcomes.

    right: The predicted entities that are gold ones.
    judged: The predicted entities that the annotation can tell right from wrong.
    """
    spans = example.predicted.spans.get(spans_key)
    scores = [] if spans is None else spans.attrs.get("scores", [])
    if spans is None or len(scores) != len(spans):
        return []
    language = example.reference._.language or UNKNOWN_LANGUAGE
    return [
        Outcome(score, entity in right, language, language_of(example.predicted, span))
        for span, score, is_preset in zip(spans, scores, preset_of(spans), strict=True)
        if not is_preset
        and score is not None
        and (entity := (span.start_char, span.end_char, span.label_)) in judged
    ]


def collect_outcomes(examples: Iterable[Example], spans_key: str = "xner") -> list[Outcome]:
    """Pair the probabilities of all predicted entities with their outcomes; unlabelled text has none."""
    outcomes: list[Outcome] = []
    for example in examples:
        if is_labelled(example.reference):
            predicted = _known(entity_set(example.predicted), example.reference)
            outcomes += judge(example, predicted & entity_set(example.reference), predicted, spans_key)
    return outcomes


def _calibration_scores(outcomes: list[Outcome]) -> dict[str, float | None]:
    """RETURNS: Numbers of None without any probability."""
    if not outcomes:
        return {"ents_ece": None, "ents_brier": None}
    scores, right = [row.score for row in outcomes], [row.is_right for row in outcomes]
    return {
        "ents_ece": expected_calibration_error(scores, right),
        "ents_brier": brier_score(scores, right),
    }


def create_language_scorer() -> Callable[..., dict[str, Any]]:
    """Create the scorer of the language identifier; see `score_languages`."""
    return score_languages


def score_languages(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Score predicted languages; references without a language are left out.

    A guess, where `doc._.language` stays empty, counts as the likeliest language: a training whose identifier
    is not sure of anything yet would be scored 0 throughout.

    RETURNS: `language_acc`, `language_macro_f` (mean over the languages), and p, r, f, support by
        language (`language_per_type`).
    """
    register_attributes()
    scores: dict[str, PRFScore] = defaultdict(PRFScore)
    n_right = n_examples = 0
    for example in examples:
        gold, predicted = example.reference._.language, likeliest_language(example.predicted)
        if gold is None:
            continue
        n_examples += 1
        n_right += gold == predicted
        for language in {gold, predicted} - {None}:
            _count(scores[language], int(language == predicted), int(language == gold))
    if n_examples == 0:
        return {"language_acc": None, "language_macro_f": None, "language_per_type": None}
    return {
        "language_acc": n_right / n_examples,
        "language_macro_f": sum(score.fscore for score in scores.values()) / len(scores),
        "language_per_type": _to_dicts(scores),
    }


def likeliest_language(doc: Doc) -> str | None:
    """The language of a document, or the one with the greatest probability where it is a guess."""
    language: str | None = doc._.language
    scores: dict[str, float] = doc._.language_scores or {}
    return language or max(scores, key=scores.__getitem__, default=None)


def _known(entities: set[Entity], reference: Doc) -> set[Entity]:
    """Leave out entities that nobody looked for: on tokens without annotation, or of labels without any."""
    if labels := unannotated_labels(reference):
        entities = {entity for entity in entities if entity[2] not in labels}
    if reference.to_array([ENT_IOB]).all():
        return entities
    missing = [t for t in reference if t.ent_iob == 0 and not t.is_space]
    return {
        (start, end, label)
        for start, end, label in entities
        if not any(t.idx < end and start < t.idx + len(t) for t in missing)
    }


def _length_group(reference: Doc, entity: Entity) -> str:
    span = reference.char_span(entity[0], entity[1], alignment_mode="expand")
    n_tokens = len(span) if span is not None else 1
    return str(n_tokens) if n_tokens < 3 else "3+"


def _count(score: PRFScore, is_predicted: int, is_gold: int) -> None:
    score.tp += is_predicted * is_gold
    score.fp += is_predicted * (1 - is_gold)
    score.fn += is_gold * (1 - is_predicted)


def _to_dicts(scores: dict[str, PRFScore]) -> dict[str, dict[str, float]]:
    return {
        key: {
            "p": score.precision,
            "r": score.recall,
            "f": score.fscore,
            "support": score.tp + score.fn,
        }
        for key, score in sorted(scores.items())
    }


def count_by_sentence(examples: list[Example]) -> dict[str, list[tuple[int, int, int]]]:
    """Right, predicted and gold entities of every test sentence, by language, for bootstraps."""
    counts: dict[str, list[tuple[int, int, int]]] = {}
    for example in examples:
        gold = entity_set(example.reference)
        predicted = _known(entity_set(example.predicted), example.reference)
        rows = counts.setdefault(example.reference._.language, [])
        rows.append((len(gold & predicted), len(predicted), len(gold)))
    return counts
