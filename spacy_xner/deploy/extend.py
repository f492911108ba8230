"""Going on from a trained pipeline: it learns a few labelled sentences, and rehearses what it knew.

The labels of the sentences that the tagger lacks are added to it. Labels that it has and that no sentence
has are taken for not annotated there: the pipeline's own entities stand in for them. On text beside the
sentences the tagger is held to the tag probabilities that it gave before, which say nothing about new labels.

SOURCE: Monaikul et al. 2021, https://doi.org/10.1609/aaai.v35i15.17600 (the tagger before as a teacher of the
    labels that the new sentences do not annotate).
DIFFERS: On other text a tag of a new label is compared with nothing, where the paper compares it with O; and
    sentences that have some of the old labels may have all of them annotated.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import filter_spans
from thinc.api import fix_random_seed, set_dropout_rate
from thinc.types import Floats2d

from spacy_xner.attributes import is_blank, is_labelled
from spacy_xner.corpus.docs import without_annotation
from spacy_xner.deploy.evidence import measured_scores
from spacy_xner.deploy.finetuning import draw_batches, start_optimizer
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import fresh_folder, write_json
from spacy_xner.loading import load_pipeline
from spacy_xner.objectives.teacher import Teacher, find_taggers
from spacy_xner.scoring import annotate, score_labels
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.confidence import NO_CALIBRATION
from spacy_xner.tagger.model import encoder_shims, raise_tags
from spacy_xner.tagger.network import NEW_TAG
from spacy_xner.training import steps_per_epoch
from spacy_xner.transformer.exported import ExportedEncoder

# Fewer sentences with entities teach nothing that lasts.
LEAST_SENTENCES = 10
# So far below O, in nats, the tags of a new label begin: a few hundred small steps do not bridge `NEW_TAG`.
START = 3.0
OLD, NEW = "old labels", "new labels"

Progress = Callable[[int, int, float, float], None]


class Course(NamedTuple):
    """How a tagger learns on.

    epochs: Passes over the labelled sentences.
    learn_rate: The highest rate; it rises in a tenth of the steps and then falls to 0.
    head_rate: The output layer learns at so many times the rate.
    batch_size: Sentences a step, and as many texts to rehearse.
    rehearsal: Weight of the rehearsal's loss beside that of the labels; 0 for none.
    """

    epochs: int = 20
    learn_rate: float = 2e-4
    head_rate: float = 10.0
    batch_size: int = 16
    rehearsal: float = 1.0
    seed: int = 0


class Material(NamedTuple):
    """The sentences and texts to learn from, and to score on.

    labelled: Sentences with the labels to learn.
    texts: Text to rehearse on; the labelled sentences' where there is none.
    scored: Labelled sentences that are not learnt, by the name of their set.
    """

    labelled: list[Example]
    texts: list[str]
    scored: dict[str, list[Example]]


class Row(NamedTuple):
    """F1 of some labels on one set, before and after.

    group: `OLD`, `NEW`, or a label.
    n_entities: Gold entities.
    """

    name: str
    group: str
    n_entities: int
    before: float
    after: float


class Extended(NamedTuple):
    """A pipeline that went on.

    added: Labels that it did not have.
    assumed: Labels that no sentence had, for which the pipeline's own entities stood in.
    uncalibrated: Its probabilities were calibrated, which they are no more.
    losses: The last losses of the labels and of the rehearsal, in nats.
    """

    added: list[str]
    assumed: list[str]
    n_sentences: int
    n_texts: int
    n_steps: int
    uncalibrated: bool
    losses: tuple[float, float]
    rows: list[Row]


def extend_folder(
    path: str | Path,
    out: Path,
    read: Callable[[Language], Material],
    course: Course,
    progress: Progress | None = None,
) -> Extended:
    """Write a pipeline that has learnt on, and the figures beside it, in the file `{out}.json`.

    The folder is whole, or as it was before.

    read: Reads the material with the pipeline's tokenizer.
    RAISES: As `extend`; XNER420, XNER701 to XNER703.
    """
    with fresh_folder(out) as folder:
        nlp = load_pipeline(path)
        result = extend(nlp, read(nlp), course, progress)
        nlp.to_disk(folder)
    content = {"pipeline": str(path), **course._asdict(), **result._asdict()}
    rows = [row._asdict() for row in result.rows]
    write_json(out.with_name(f"{out.name}.json"), {**content, "rows": rows})
    return result


def extend(nlp: Language, material: Material, course: Course, progress: Progress | None = None) -> Extended:
    """Let the tagger of a pipeline learn on, in place.

    progress: Called after every step with its number, the number of all steps, and the losses of the labels
        and of the rehearsal.
    RAISES: XNER352 for a pipeline without exactly one tagger that can learn, XNER150 for too few labelled
        sentences.
    """
    tagger = _only_tagger(nlp)
    examples = [eg for eg in material.labelled if is_labelled(eg.reference) and not is_blank(eg.predicted)]
    with_entities = [eg for eg in examples if eg.reference.ents]
    if len(with_entities) < LEAST_SENTENCES:
        raise XnerError(Errors.XNER150.format(least=LEAST_SENTENCES, found=len(with_entities)))
    fix_random_seed(course.seed)
    old = list(tagger.labels)
    annotated = {ent.label_ for eg in examples for ent in eg.reference.ents}
    added, assumed = sorted(annotated - set(old)), sorted(set(old) - annotated)
    before = _score(nlp, material.scored, old, added)
    docs = [nlp.make_doc(text) for text in material.texts] or [eg.predicted for eg in examples]
    docs = [without_annotation(doc) for doc in docs if not is_blank(doc)] if course.rehearsal else []
    learner = Learner(tagger, course, [_assume(nlp, eg, assumed) for eg in examples], docs)
    n_tags = len(tagger.tag_set)
    for label in added:
        tagger.add_label(label)
    raise_tags(tagger.model, n_tags, NEW_TAG - START)
    losses = list(learner.learn(progress))
    uncalibrated = tagger.cfg["calibration"] != NO_CALIBRATION
    tagger.cfg["calibration"] = NO_CALIBRATION
    after = _score(nlp, material.scored, old, added)
    # The corpora that its package lists are not all that it has learnt now.
    nlp.meta.pop("corpora", None)
    # Figures that were measured before are no property of this pipeline.
    nlp.meta["performance"] = measured_scores(next(iter(after.scores.values()), {}))
    rows = [
        Row(*key, n_entities, before.f[key][1], f) for key, (n_entities, f) in after.f.items() if n_entities
    ]
    return Extended(
        added, assumed, len(examples), len(docs), len(losses), uncalibrated, losses[-1], rows
    )  # fmt: skip


class Learner:
    """A tagger, its sentences, and its answers on the texts before anything is learnt.

    examples: Labelled sentences.
    docs: Texts to rehearse.
    """

    def __init__(
        self, tagger: EntityTagger, course: Course, examples: list[Example], docs: list[Doc]
    ) -> None:
        self.tagger, self.course = tagger, course
        self.examples, self.docs = examples, docs
        teacher = Teacher(tagger)
        size = course.batch_size
        self.answers: list[Floats2d] = [
            scores
            for start in range(0, len(docs), size)
            for scores in teacher.scores(docs[start : start + size])
        ]

    def learn(self, progress: Progress | None = None) -> Iterator[tuple[float, float]]:
        """Train. YIELDS: The losses of every step."""
        tagger, course = self.tagger, self.course
        n_steps = course.epochs * steps_per_epoch(len(self.examples), course.batch_size)
        tagger.model.get_ref("head").shims[0].learn_rate_factor = course.head_rate
        optimizer, rates = start_optimizer(tagger, course.learn_rate, n_steps)
        generator = random.Random(course.seed)
        labelled = draw_batches(len(self.examples), course.batch_size, generator)
        texts = draw_batches(len(self.docs), course.batch_size, generator)
        # The objectives of the training before have nothing to do with these sentences.
        objectives, tagger.objectives = tagger.objectives, {}
        try:
            for step in range(1, n_steps + 1):
                optimizer.learn_rate = next(rates)
                losses = self._step(next(labelled), next(texts))
                tagger.finish_update(optimizer)
                if progress is not None:
                    progress(step, n_steps, *losses)
                yield losses
        finally:
            tagger.objectives = objectives

    def _step(self, chosen: Sequence[int], rehearsed: Sequence[int]) -> tuple[float, float]:
        """Add the gradients of a batch. RETURNS: The losses of the labels and of the rehearsal."""
        tagger = self.tagger
        set_dropout_rate(tagger.model, 0.1)
        losses = {tagger.name: 0.0}
        tagger.add_gradients([self.examples[i] for i in chosen], losses)
        if not rehearsed:
            return losses[tagger.name], 0.0
        docs, answers = ([items[i] for i in rehearsed] for items in (self.docs, self.answers))
        loss = tagger.learn_scores(docs, answers, weight=self.course.rehearsal)
        return losses[tagger.name], tagger.check_loss(loss, docs)


def _only_tagger(nlp: Language) -> EntityTagger:
    taggers = find_taggers(nlp)
    reason = f"there are {len(taggers)} taggers ({', '.join(taggers) or 'none'})"
    if len(taggers) == 1:
        [(name, tagger)] = taggers.items()
        if tagger.listens:
            reason = f"{name!r} listens to a transformer of another component"
        elif any(
            isinstance(getattr(shim.network, "encoder", None), ExportedEncoder)
            for shim in encoder_shims(tagger.model)
        ):
            reason = f"the encoder of {name!r} was exported"
        else:
            return tagger
    raise XnerError(Errors.XNER352.format(reason=reason))


def _assume(nlp: Language, example: Example, labels: Sequence[str]) -> Example:
    """Put the entities that the pipeline finds into the gaps of an annotation that lacks these labels."""
    predicted = without_annotation(example.predicted)
    reference = example.reference.copy()
    if labels:
        doc = nlp(without_annotation(example.reference))
        assumed = [ent for ent in doc.ents if ent.label_ in labels]
        taken = {token.i for ent in reference.ents for token in ent}
        spans = [
            reference.char_span(ent.start_char, ent.end_char, ent.label_)
            for ent in assumed
            if not taken & set(range(ent.start, ent.end))
        ]
        whole = [span for span in spans if span is not None]
        reference.set_ents(filter_spans([*reference.ents, *whole]), default="unmodified")
    reference._.language = example.reference._.language
    return Example(predicted, reference)


class _Scored(NamedTuple):
    """Scores of every set by their usual names, and F1 with the number of entities by set and group."""

    scores: dict[str, dict[str, Any]]
    f: dict[tuple[str, str], tuple[int, float]]


def _score(
    nlp: Language, sets: dict[str, list[Example]], old: Sequence[str], added: Sequence[str]
) -> _Scored:
    """Score the pipeline; a label counts on the sets that have it."""
    scored = _Scored({}, {})
    for name, examples in sets.items():
        fresh = [Example(without_annotation(eg.predicted), eg.reference) for eg in examples]
        scored.scores[name] = annotate(nlp, fresh)
        present = {ent.label_ for eg in fresh for ent in eg.reference.ents}
        groups = {OLD: present & set(old), NEW: present & set(added)}
        groups |= {label: {label} for label in (*old, *added) if label in present}
        for group, labels in groups.items():
            result = score_labels(fresh, labels)
            scored.f[name, group] = (result.tp + result.fn, result.fscore)
    return scored
