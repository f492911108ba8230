"""A trained pipeline goes on from a few sentences: new labels, old ones that stay, and what cannot go on."""

import json
from pathlib import Path

import numpy
import pytest
import spacy
import torch
from spacy.training import Example

from spacy_xner.cli import xner
from spacy_xner.corpus.docs import write_docs
from spacy_xner.deploy import extend as extending
from spacy_xner.deploy.extend import NEW, OLD, Course, Material, extend, extend_folder
from spacy_xner.deploy.lessons import OTHERS, YOURS, Sources, read_material
from spacy_xner.deploy.trim import trim_folder
from spacy_xner.errors import XnerError
from spacy_xner.scoring import score_labels
from spacy_xner.tagger.confidence import NO_CALIBRATION

from tests import tiny
from tests.cli import invoke

DAY = [("It rained all day.", [(14, 17, "DATE")]), ("The race was in the day.", [(20, 23, "DATE")])]
QUICK = Course(epochs=2, learn_rate=0.01, head_rate=1.0, batch_size=8)


def labelled(nlp, copies=8):
    """Sentences that have the new label alone, and sentences with the old ones."""
    pairs = [(text, ents) for text, ents, _ in tiny.SENTENCES[:2]] + DAY
    return [Example.from_dict(nlp.make_doc(text), {"entities": ents}) for text, ents in pairs * copies]


def days(nlp, copies=8):
    return [Example.from_dict(nlp.make_doc(text), {"entities": ents}) for text, ents in DAY * copies]


@pytest.fixture(scope="module")
def pipeline(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extend") / "before"
    trained.to_disk(folder)
    return folder


@pytest.fixture
def nlp(pipeline):
    return spacy.load(pipeline)


def test_a_new_label_is_learnt_and_the_old_ones_stay(nlp):
    scored = {YOURS: labelled(nlp, 1), OTHERS: tiny.make_examples(nlp)[:4]}
    losses = []
    nlp.meta["corpora"] = ["wikiann"]
    result = extend(
        nlp,
        Material(labelled(nlp), tiny.TEXTS, scored),
        QUICK._replace(epochs=30),
        lambda *step: losses.append(step),
    )
    assert (result.added, result.assumed) == (["DATE"], [])
    # The list of its package does not have what was learnt now.
    assert "corpora" not in nlp.meta
    assert [step[:2] for step in losses] == [(i, 120) for i in range(1, 121)]
    assert losses[-1][2] < losses[0][2] / 5
    rows = {(row.name, row.group): row for row in result.rows}
    assert (rows[YOURS, NEW].n_entities, rows[YOURS, NEW].before) == (2, 0.0)
    assert 0.0 < rows[YOURS, NEW].after == rows[YOURS, "DATE"].after
    assert rows[OTHERS, OLD].before == 1.0
    assert (OTHERS, NEW) not in rows
    assert [(ent.text, ent.label_) for ent in nlp(DAY[0][0]).ents] == [("day", "DATE")]


def test_rehearsal_keeps_what_the_sentences_do_not_have(pipeline):
    """They say that a person is a place; on other text, the tagger is held to what it gave."""
    wrong = [("Maria Santos won the race in Lisbon.", [(0, 12, "LOC"), (29, 35, "LOC")]), *DAY]
    f = []
    for weight in (0.0, 3.0):
        nlp = spacy.load(pipeline)
        examples = [Example.from_dict(nlp.make_doc(t), {"entities": e}) for t, e in wrong * 6]
        others = {OTHERS: [eg for eg in tiny.make_examples(nlp)[1:4]]}
        extend(nlp, Material(examples, tiny.TEXTS[1:4], others), QUICK._replace(epochs=20, rehearsal=weight))
        teacher = spacy.load(pipeline).get_pipe("ner")
        docs = [nlp.make_doc(text) for text in tiny.TEXTS[1:4]]
        n = 1 + 2 * len(teacher.labels)
        pairs = zip(teacher.model.predict(docs), nlp.get_pipe("ner").model.predict(docs), strict=True)
        f.append(sum(float(numpy.abs(softmax(a) - softmax(b[:, :n])).mean()) for a, b in pairs))
    assert f[1] < f[0] / 2


def softmax(scores):
    return torch.softmax(torch.from_numpy(numpy.asarray(scores)).double(), dim=1).numpy()


def test_a_rehearsal_teaches_nothing_of_tags_that_the_teacher_lacks(nlp):
    tagger = nlp.get_pipe("ner")
    docs = [nlp.make_doc(text) for text in tiny.TEXTS]
    answers = tagger.model.predict(docs)
    tagger.add_label("DATE")
    head = tagger.model.get_ref("head").shims[0].network
    loss = tagger.learn_scores(
        docs, [answer + 0.5 * numpy.eye(*answer.shape, dtype="f") for answer in answers]
    )
    assert loss > 0
    gradient = next(p.grad for p in head.parameters() if p.grad is not None and p.ndim == 2)
    n = answers[0].shape[1]
    assert gradient.shape[0] == n + 2
    assert bool(gradient[:n].any())
    assert not bool(gradient[n:].any())
    # The answers of before agree with the tagger, whatever it gives the new tags.
    with torch.no_grad():
        list(head.parameters())[-1][n:] += 9.0
    for parameter in head.parameters():
        parameter.grad = None
    assert tagger.learn_scores(docs, answers) < loss / 10


def test_labels_that_nobody_annotated_are_the_pipelines_own(nlp, monkeypatch):
    """Sentences with the new label alone, in text with old entities too."""
    text = tiny.TEXTS[0]
    race = [Example.from_dict(nlp.make_doc(text), {"entities": [(21, 25, "EVENT"), (29, 35, "EVENT")]})] * 12
    taught = []
    learn = extending.Learner.learn

    def watch(self, progress=None):
        taught.extend(self.examples)
        return learn(self, progress)

    monkeypatch.setattr(extending.Learner, "learn", watch)
    result = extend(nlp, Material(race, [], {}), QUICK)
    assert (result.added, result.assumed) == (["EVENT"], ["LOC", "ORG", "PER"])
    # Lisbon, which the pipeline thinks a place, is annotated.
    expected = [("Maria Santos", "PER"), ("race", "EVENT"), ("Lisbon", "EVENT")]
    assert [(ent.text, ent.label_) for ent in taught[0].reference.ents] == expected
    assert len(race[0].reference.ents) == 2
    # Without other text, the sentences' is rehearsed.
    assert result.n_texts == 12


def test_new_tags_begin_in_reach(nlp, monkeypatch):
    """`add_label` puts them so far below O that few small steps would never find them."""
    before = [[(ent.text, ent.label_) for ent in nlp(text).ents] for text in tiny.TEXTS]
    scores, after = [], []

    def look(self, progress=None):
        scores.extend(self.tagger.model.predict([nlp.make_doc(text) for text in tiny.TEXTS]))
        after.extend([(ent.text, ent.label_) for ent in nlp(text).ents] for text in tiny.TEXTS)
        yield 0.0, 0.0

    monkeypatch.setattr(extending.Learner, "learn", look)
    extend(nlp, Material(labelled(nlp), [], {}), QUICK)
    for array in scores:
        assert array.shape[1] == 9
        numpy.testing.assert_allclose(array[:, 7:], array[:, [0, 0]] - extending.START, atol=0.05)
    assert after == before


def test_what_was_true_of_the_old_pipeline_is_not_said_of_the_new_one(nlp, tmp_path):
    nlp.meta["performance"] = {"ents_f": 0.123, "speed": 9.0}
    nlp.get_pipe("ner").cfg["calibration"] = {"scalings": {"en": [1.5, 0.0]}, "thresholds": {}}
    nlp.to_disk(tmp_path / "old")
    out = tmp_path / "new"
    material = {YOURS: labelled(nlp, 1)}
    result = extend_folder(tmp_path / "old", out, lambda nlp: Material(labelled(nlp, 4), [], material), QUICK)
    assert result.uncalibrated
    new = spacy.load(out)
    assert new.get_pipe("ner").cfg["calibration"] == NO_CALIBRATION
    assert new.get_pipe("ner").labels == ("LOC", "ORG", "PER", "DATE")
    [after] = [row.after for row in result.rows if row.group == OLD]
    written = json.loads((tmp_path / "new.json").read_text())
    assert [row["after"] for row in written["rows"] if row["group"] == OLD] == [after]
    assert written["pipeline"] == str(tmp_path / "old")
    assert new.meta["performance"]["ents_f"] != 0.123
    assert "speed" not in new.meta["performance"]


def test_a_trimmed_pipeline_goes_on_and_stays_small(pipeline, tmp_path):
    trim_folder(pipeline, tmp_path / "small", [*tiny.TEXTS, *(text for text, _ in DAY)])
    size = (tmp_path / "small" / "ner" / "model").stat().st_size
    out = tmp_path / "out"
    material = Material([], tiny.TEXTS, {})
    result = extend_folder(
        tmp_path / "small",
        out,
        lambda nlp: material._replace(labelled=labelled(nlp)),
        QUICK._replace(epochs=30),
    )
    assert result.added == ["DATE"]
    nlp = spacy.load(out)
    assert nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].storage == "float16"
    assert abs((out / "ner" / "model").stat().st_size - size) < size / 10
    assert [(ent.text, ent.label_) for ent in nlp(DAY[0][0]).ents] == [("day", "DATE")]


def test_the_same_seed_gives_the_same_pipeline(pipeline):
    weights = []
    for seed in (0, 0, 1):
        nlp = spacy.load(pipeline)
        extend(nlp, Material(labelled(nlp, 4), tiny.TEXTS, {}), QUICK._replace(seed=seed))
        head = nlp.get_pipe("ner").model.get_ref("head").shims[0].network
        weights.append(torch.cat([p.detach().flatten() for p in head.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_cannot_go_on_is_a_coded_error(nlp, pipeline):
    few = Material(labelled(nlp, 2), [], {})
    with pytest.raises(XnerError, match=r"XNER150.* 10 .* 8"):
        extend(nlp, few, QUICK)
    nlp.add_pipe("ner", name="second", source=spacy.load(pipeline))
    with pytest.raises(XnerError, match=r"XNER352.*2 taggers \(ner, second\)"):
        extend(nlp, Material(labelled(nlp), [], {}), QUICK)
    with pytest.raises(XnerError, match=r"XNER352.*0 taggers"):
        extend(tiny.blank(), Material(labelled(nlp), [], {}), QUICK)


def write_corpus(folder: Path, splits) -> Path:
    blank = tiny.blank()
    for split in splits:
        docs = [example.reference for example in labelled(blank, 5)]
        for doc in docs:
            doc._.language = "en"
        write_docs(docs, folder / f"en-mine-{split}.spacy")
    return folder


def test_material_is_read_and_what_is_scored_is_not_learnt(nlp, toy_corpus, tmp_path):
    corpus = write_corpus(tmp_path / "both", ("train", "dev"))
    material = read_material(nlp, Sources(corpus, (toy_corpus,), toy_corpus, languages=("en",)))
    assert (len(material.labelled), len(material.scored[YOURS])) == (20, 20)
    assert len(material.scored[OTHERS]) == 3
    assert [text.replace(" .", ".") for text in material.texts] == [
        text for text, _, language in tiny.SENTENCES if language == "en"
    ]
    alone = write_corpus(tmp_path / "train", ("train",))
    material = read_material(nlp, Sources(alone))
    assert (len(material.labelled), len(material.scored[YOURS]), material.texts) == (16, 4, [])
    assert list(material.scored) == [YOURS]
    with pytest.raises(XnerError, match="XNER151"):
        read_material(nlp, Sources(alone, split="train"))


def test_the_verb_prints_and_writes_what_was_learnt(pipeline, toy_corpus, tmp_path):
    corpus = write_corpus(tmp_path / "mine", ("train",))
    out = tmp_path / "out"
    options = ("--texts", toy_corpus, "--check", toy_corpus, "--languages", "en", "--epochs", 2)
    output = invoke(xner, "extend", pipeline, corpus, out, *options, "--learn-rate", 0.01)
    assert "Step 2 of 2" in output
    assert "F1 before" in output
    assert "learnt DATE from 16 sentences" in output
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {YOURS, OTHERS}
    assert spacy.load(out).get_pipe("ner").labels[-1] == "DATE"


def test_labels_are_scored_by_themselves(nlp):
    [example] = labelled(nlp, 1)[:1]
    example.predicted.ents = [example.predicted.char_span(0, 12, label="PER")]
    assert score_labels([example], {"PER"}).fscore == 1.0
    assert score_labels([example], {"PER", "LOC"}).fscore == pytest.approx(2 / 3)
    assert score_labels([example], {"LOC"}).recall == 0.0
    assert score_labels([example], {"LOC"}).fp == 0
