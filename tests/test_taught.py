"""A student with a fixed teacher: soft targets, documents by confidence or length; nearest sources."""

import numpy
import pytest
import spacy
from thinc.api import fix_random_seed

from spacy_xner.errors import XnerError
from spacy_xner.objectives.taught import choose_rows, confidence
from spacy_xner.router.sources import rank_sources
from spacy_xner.shim import trained_weights

from tests import tiny


@pytest.fixture(scope="module")
def teacher(checkpoint, tmp_path_factory):
    """The folder of a tagger that has learnt the tiny sentences."""
    folder = tmp_path_factory.mktemp("taught") / "teacher"
    nlp = tiny.make_nlp(checkpoint)
    tiny.train(nlp)
    nlp.to_disk(folder)
    return folder


def make_student(checkpoint, teacher, n_labelled=2, **settings):
    objective = {"@misc": "spacy_xner.taught.v1", "teacher": str(teacher), **settings}
    nlp = tiny.make_nlp(checkpoint, {"objectives": {"taught": objective}})
    examples = tiny.make_examples(nlp)
    unlabelled = tiny.make_unlabelled(nlp, tiny.TEXTS)
    fix_random_seed(0)
    optimizer = nlp.initialize(lambda: [*examples[:n_labelled], *unlabelled])
    optimizer.learn_rate = 0.02
    return nlp, optimizer, unlabelled


def test_a_student_learns_from_text_alone_and_its_teacher_stays(checkpoint, teacher):
    nlp, optimizer, unlabelled = make_student(checkpoint, teacher)
    wise = nlp.get_pipe("ner").objectives["taught"]._teacher.tagger
    before = trained_weights(wise.model)
    losses = [nlp.update(unlabelled, sgd=optimizer, losses={}, drop=0.0) for _ in range(40)]
    assert losses[-1]["ner_taught"] < losses[0]["ner_taught"] / 4
    assert losses[0]["ner"] == 0.0
    after = trained_weights(wise.model)
    assert all(numpy.array_equal(before[key], after[key]) for key in before)
    # The text itself keeps no trace of the teacher.
    assert not any(eg.predicted.ents or eg.predicted.spans for eg in unlabelled)


def test_the_loss_is_the_divergence_times_the_weight(checkpoint, teacher):
    values = []
    for weight in (1.0, 3.0):
        nlp, optimizer, unlabelled = make_student(checkpoint, teacher, weight=weight)
        fix_random_seed(1)
        values.append(nlp.update(unlabelled, sgd=optimizer, losses={}, drop=0.0)["ner_taught"])
    assert values[1] == pytest.approx(3 * values[0], rel=1e-5)


@pytest.mark.parametrize(("by", "chosen"), [("confidence", [0, 3]), ("length", [1, 2])])
def test_a_share_of_every_batch_is_learnt(by, chosen, checkpoint, teacher, monkeypatch):
    nlp, _, unlabelled = make_student(checkpoint, teacher, share=0.5, by=by)
    tagger = nlp.get_pipe("ner")
    objective = tagger.objectives["taught"]
    batch = sorted(unlabelled[:4], key=lambda eg: len(eg.predicted))
    batch = [batch[i] for i in (2, 0, 1, 3)]
    n_tags = len(tagger.tag_set)
    sharpness = [9.0, 0.1, 0.2, 8.0]
    scores = [
        numpy.eye(n_tags, dtype="float32")[[0] * len(eg.predicted)] * sharp
        for eg, sharp in zip(batch, sharpness, strict=True)
    ]
    monkeypatch.setattr(type(objective._teacher), "scores", lambda self, docs: scores)
    learnt = []
    monkeypatch.setattr(
        type(tagger), "learn_scores", lambda self, docs, s, *, weight: learnt.extend(docs) or 0.5
    )
    assert objective.update([eg.predicted for eg in batch], tagger) == 0.5
    assert learnt == [batch[i].predicted for i in chosen]


def test_at_least_one_document_is_learnt():
    assert choose_rows([0.3, -0.9, 0.1], 0.01) == [1]
    assert choose_rows([0.3, -0.9, 0.1], 1.0) == [0, 1, 2]
    assert confidence(numpy.log([[0.5, 0.5], [0.9, 0.1]])) == pytest.approx(0.7)


def test_teachers_that_do_not_fit_are_coded_errors(checkpoint, teacher, tmp_path):
    with pytest.raises(XnerError, match="XNER420"):
        make_student(checkpoint, tmp_path / "nowhere")
    with pytest.raises(XnerError, match=r"XNER657.*PER"):
        make_student(checkpoint, teacher, n_labelled=1 - len(tiny.TEXTS))
    nlp = tiny.make_nlp(
        checkpoint, {"objectives": {"t": {"@misc": "spacy_xner.taught.v1", "teacher": str(teacher)}}}
    )
    with pytest.raises(XnerError, match="XNER312"):
        nlp.initialize(lambda: tiny.make_examples(nlp))
    assert spacy.load(teacher).get_pipe("ner").labels == ("LOC", "ORG", "PER")


def cloud(centre, n, seed, width=8):
    generator = numpy.random.default_rng(seed)
    # All vectors have much in common, as those of a transformer have.
    return (10.0 + numpy.eye(width)[centre] + 0.05 * generator.normal(size=(n, width))).astype("float32")


def test_the_nearest_languages_come_first():
    sources = {"far": cloud(0, 30, 0), "near": cloud(1, 300, 1), "mixed": cloud(2, 40, 2)}
    half = numpy.concatenate([cloud(1, 13, 3), cloud(2, 12, 4)])
    assert next(iter(rank_sources(sources, {"x": cloud(1, 25, 5)}))) == "near"
    shares = rank_sources(sources, {"x": half})
    assert list(shares) == ["near", "mixed", "far"]
    assert shares == pytest.approx({"near": 0.52, "mixed": 0.48, "far": 0.0}, abs=0.05)
    # Every target counts alike, however much text it has.
    both = rank_sources(sources, {"x": cloud(1, 5, 6), "y": cloud(0, 500, 7)})
    assert both == pytest.approx({"near": 0.5, "far": 0.5, "mixed": 0.0}, abs=0.05)


def test_a_language_with_more_text_gets_no_more_votes():
    same = cloud(3, 600, 8)
    shares = rank_sources({"large": same[:500], "small": same[500:525]}, {"x": same[525:]})
    assert shares["small"] > 0.3


def test_ranking_needs_sentences():
    with pytest.raises(XnerError, match=r"XNER664.*empty"):
        rank_sources({"a": cloud(0, 5, 0), "empty": cloud(0, 0, 0)}, {"x": cloud(0, 5, 1)})
