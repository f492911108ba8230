"""Distillation: a tagger of fewer layers finds what the whole one finds, or says why it cannot."""

import warnings

import pytest
import spacy
import torch

from spacy_xner.cli import xner
from spacy_xner.deploy.distill import Schooling, agreement, cut_tagger, distill, distill_folder
from spacy_xner.errors import XnerError
from spacy_xner.objectives.teacher import Teacher
from spacy_xner.tagger.confidence import NO_CALIBRATION

from tests import tiny
from tests.cli import invoke

TEXTS = tiny.TEXTS * 8
QUICK = Schooling(layers=1, steps=3, learn_rate=0.02, batch_size=8)


@pytest.fixture(scope="module")
def pipeline(checkpoint, tmp_path_factory):
    """The folder of a trained pipeline whose lowest layer is frozen."""
    folder = tmp_path_factory.mktemp("distill") / "whole"
    nlp = tiny.make_nlp(checkpoint, n_frozen_layers=1)
    tiny.train(nlp)
    nlp.to_disk(folder)
    return folder


def load_twice(pipeline):
    return spacy.load(pipeline), spacy.load(pipeline)


def tensors(nlp):
    network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_the_student_begins_with_the_lowest_layers_and_the_head(pipeline):
    nlp, student = load_twice(pipeline)
    cut_tagger(student, "ner", 1)
    whole, cut = tensors(nlp), tensors(student)
    assert set(cut) == {name for name in whole if ".layer.1." not in name} != set(whole)
    assert all(torch.equal(whole[name], cut[name]) for name in cut)
    heads = [n.get_pipe("ner").model.get_ref("head").shims[0].network.state_dict() for n in (nlp, student)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    network = student.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    # Its one layer has to learn.
    assert {name for name, p in network.named_parameters() if p.requires_grad}
    assert all("layer.0" in name for name, p in network.named_parameters() if p.requires_grad)


def test_the_student_comes_nearer_to_its_teacher_which_stays_as_it_is(pipeline):
    nlp, student = load_twice(pipeline)
    student.get_pipe("ner").cfg["calibration"] = {"scalings": {"": [2.0, 0.0]}, "thresholds": {"": 0.5}}
    student.meta["performance"] = {"ents_f": 0.9}
    before = tensors(nlp)
    losses = []
    result = distill(
        nlp, student, TEXTS, QUICK._replace(steps=40), lambda step, n, loss: losses.append((step, n, loss))
    )
    assert [(step, n) for step, n, _ in losses] == [(i, 40) for i in range(1, 41)]
    assert (result.n_before, result.n_after, result.n_texts, result.n_steps) == (2, 1, 36, 40)
    assert result.loss < losses[0][2] / 2
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors(nlp).items())
    docs = [nlp.make_doc(text) for text in tiny.TEXTS]
    # Nothing that was measured on the teacher is told of the student.
    assert student.get_pipe("ner").cfg["calibration"] == NO_CALIBRATION
    assert student.meta["performance"] == {}
    assert result.agreement == agreement(nlp.get_pipe("ner"), student.get_pipe("ner"), docs[:1])


def test_what_is_held_out_is_not_learnt(pipeline, monkeypatch):
    nlp, student = load_twice(pipeline)
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    read = []
    scores = Teacher.scores
    monkeypatch.setattr(
        Teacher, "scores", lambda self, docs: read.extend(d.text for d in docs) or scores(self, docs)
    )
    distill(nlp, student, texts, QUICK._replace(steps=0, epochs=2))
    # The teacher answers once for every text, however many passes there are.
    assert sorted(read) == sorted(set(texts) - set(texts[::10]))


def test_seeds_and_only_seeds_make_a_difference(pipeline):
    def run(seed):
        nlp, student = load_twice(pipeline)
        distill(nlp, student, TEXTS, QUICK._replace(seed=seed))
        return tensors(student)

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_stored_student_is_loaded_without_a_warning_and_finds_the_same(pipeline, tmp_path):
    distill_folder(pipeline, tmp_path / "small", TEXTS, QUICK)
    nlp, student = load_twice(pipeline)
    distill(nlp, student, TEXTS, QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = spacy.load(tmp_path / "small")
    for doc, expected in zip(loaded.pipe(tiny.TEXTS), student.pipe(tiny.TEXTS), strict=True):
        assert [(e.text, e.label_) for e in doc.ents] == [(e.text, e.label_) for e in expected.ents]
    stored = tensors(loaded)
    assert all(torch.equal(stored[name], tensor) for name, tensor in tensors(student).items())
    assert loaded.config["components"]["ner"]["model"]["tok2vec"]["n_layers"] == 1


def test_the_verb_writes_a_smaller_pipeline_of_a_corpus_text(pipeline, toy_corpus, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS), encoding="utf-8")
    out = tmp_path / "small"
    shown = invoke(
        xner, "distill", pipeline, out, "--texts", lines, "--texts", toy_corpus, "--layers", 1,
        "--steps", 10,
    )  # fmt: skip
    assert "1 of 2 layers" in shown
    assert "Step 10 of 10" in shown
    assert spacy.load(out).pipe_names == ["ner"]


def test_an_interrupted_run_leaves_the_old_folder(pipeline, tmp_path):
    out = tmp_path / "small"
    distill_folder(pipeline, out, TEXTS, QUICK)
    before = (out / "ner" / "model").read_bytes()

    def stop(step, n_steps, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill_folder(pipeline, out, TEXTS, QUICK._replace(seed=5), stop)
    assert (out / "ner" / "model").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith((".part", ".old"))] == []


@pytest.mark.parametrize("layers", [0, 2, 3])
def test_a_student_must_have_fewer_layers(layers, pipeline):
    nlp, student = load_twice(pipeline)
    with pytest.raises(XnerError, match="XNER651"):
        distill(nlp, student, TEXTS, QUICK._replace(layers=layers))


def test_pipelines_that_cannot_be_distilled_say_why(checkpoint, pipeline, tmp_path):
    routed = tmp_path / "routed"
    tiny.make_routed(checkpoint).to_disk(routed)
    with pytest.raises(XnerError, match=r"XNER650.*2 taggers"):
        distill_folder(routed, tmp_path / "out", TEXTS, QUICK)
    assert not (tmp_path / "out").exists()
    nlp = tiny.make_bilstm()
    tiny.train(nlp, 1)
    with pytest.raises(XnerError, match=r"XNER650.*another one"):
        distill(nlp, nlp, TEXTS, QUICK)
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(["", *tiny.TEXTS]), encoding="utf-8")
    output = invoke(xner, "distill", pipeline, tmp_path / "out", "--texts", lines, "--layers", 1, code=1)
    assert "XNER652" in output
    assert "got 5" in output
