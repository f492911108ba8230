"""The component that projects entities, on a tiny encoder and on real parallel text."""

import numpy
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import fix_random_seed

from spacy_xner.corpus.conll import read_tagged
from spacy_xner.corpus.docs import make_doc
from spacy_xner.projector.alignment import Candidate
from spacy_xner.projector.component import _gold
from spacy_xner.projector.model import Gold, mark_places, mean_of_pieces, to_pieces
from spacy_xner.scoring import annotate
from spacy_xner.transformer.model import Query, pieces_of
from spacy_xner.transformer.wordpieces import TokenPieces

from tests import tiny

METHODS = ["span", "mutual", "itermax", "matching"]


@pytest.fixture(scope="module")
def trained(checkpoint):
    fix_random_seed(0)
    nlp = tiny.make_aligner(checkpoint)
    examples = tiny.triples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.003
    # Dropout is much for an encoder so small: which step is the last good one differs among processors.
    for _ in range(10):
        for _ in range(80):
            nlp.update(examples, sgd=optimizer, drop=0.0)
        if annotate(nlp, tiny.triples(nlp))["ents_f"] == 1:
            break
    return nlp


def pairs(nlp):
    return [tiny.parallel(nlp, text, entities) for text, entities, _ in tiny.SENTENCES]


def state(doc):
    """All that the component writes."""
    scores = doc.spans["xner"].attrs["scores"] if "xner" in doc.spans else None
    return [(e.start_char, e.end_char, e.label_) for e in doc.ents], scores, doc._.projection


def fates(doc):
    return [row["fate"] for row in doc._.projection]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_text_has_the_same_entities(checkpoint, method):
    nlp = tiny.make_projector(checkpoint, method=method)
    for doc, (_, entities, _) in zip(nlp.pipe(pairs(nlp)), tiny.SENTENCES, strict=True):
        found, scores, projection = state(doc)
        assert found == entities
        assert all(0 < score <= 1 for score in scores)
        assert [(row["label"], row["fate"]) for row in projection] == [(e[2], "projected") for e in entities]
        assert doc.has_annotation("ENT_IOB")


def test_a_document_keeps_its_source_through_bytes(checkpoint):
    nlp = tiny.make_projector(checkpoint)
    doc = pairs(nlp)[0]
    again = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert [e.text for e in again._.source.ents] == ["Maria Santos", "Lisbon"]
    again._.source = None
    assert again._.source is None


def test_a_document_without_a_source_is_an_error(checkpoint):
    nlp = tiny.make_projector(checkpoint)
    with pytest.raises(ValueError, match=r"XNER501.*Nokia"):
        nlp("Nokia")


@pytest.mark.filterwarnings("ignore:.XNER-W141")
@pytest.mark.parametrize("text", ["", " ", "قال الرئيس", "Nokia " * 300])
@pytest.mark.parametrize("translation", ["", " ", "ماريا في موسكو", "Nokia " * 300])
def test_odd_pairs_are_survived(checkpoint, trained, text, translation):
    entities = [(0, 5, "ORG")] if text.startswith("Nokia") else []
    for nlp in (tiny.make_projector(checkpoint, {"back_projection": True}), trained):
        doc = nlp(tiny.parallel(nlp, text, entities, translation))
        if not translation and entities:
            assert fates(doc) == ["no_place"]
        if not entities:
            assert doc.ents == ()


def test_an_incomplete_document_stays_without_annotation(checkpoint):
    text, entities, _ = tiny.SENTENCES[0]
    for keep in (False, True):
        nlp = tiny.make_projector(checkpoint, {"keep_incomplete": keep, "min_probability": 1.0})
        doc = nlp(tiny.parallel(nlp, text, entities))
        assert fates(doc) == ["improbable", "improbable"]
        assert doc.has_annotation("ENT_IOB") == keep


def test_an_incomplete_document_loses_what_it_had(checkpoint):
    text, entities, _ = tiny.SENTENCES[0]
    nlp = tiny.make_projector(checkpoint, {"min_probability": 1.0})
    doc = tiny.parallel(nlp, text, entities)
    doc.ents = [doc.char_span(0, 5, "OLD")]
    assert not nlp(doc).has_annotation("ENT_IOB")


def test_suppressed_labels_are_left_out(checkpoint):
    text, entities, _ = tiny.SENTENCES[0]
    nlp = tiny.make_projector(checkpoint, {"suppressed": ["LOC"], "spans_key": "own"})
    doc = nlp(tiny.parallel(nlp, text, entities))
    assert [e.label_ for e in doc.ents] == [e.label_ for e in doc.spans["own"]] == ["PER"]
    assert fates(doc) == ["projected", "suppressed"]
    assert doc.has_annotation("ENT_IOB")


def test_back_projection_asks_the_other_way(checkpoint):
    nlp = tiny.make_projector(checkpoint, {"back_projection": True})
    pipe = nlp.get_pipe("entity_projector")
    text, entities, _ = tiny.SENTENCES[0]
    assert fates(nlp(tiny.parallel(nlp, text, entities))) == ["projected"] * 2
    align = pipe.model.attrs["align"]
    asked = []

    def turn_away(similarity, places):
        """Lead every place of the second question back to the last token."""
        asked.append((similarity, places))
        found = align(similarity, places)
        last = similarity.shape[1] - 1
        return found if len(asked) == 1 else [[Candidate(last, last + 1, 0.9)] for _ in found]

    pipe.model.attrs["align"] = turn_away
    assert fates(nlp(tiny.parallel(nlp, text, entities))) == ["unconfirmed"] * 2
    # The second question is about the places that were found, from the target to the source.
    (forth, _), (back, places) = asked
    assert numpy.allclose(forth, back.T, atol=1e-5)
    assert places == [(0, 2), (6, 7)]


def test_every_place_has_to_lead_back(checkpoint):
    nlp = tiny.make_projector(checkpoint, {"back_projection": True})
    pipe = nlp.get_pipe("entity_projector")
    doc = tiny.parallel(nlp, "Nokia won", [(0, 5, "ORG")], "Nokia won Nokia")
    answers = [
        [[Candidate(0, 1, 0.9), Candidate(2, 3, 0.9)]],
        [[Candidate(0, 1, 0.9)]],
        [[Candidate(0, 1, 0.9)]],
    ]
    asked = []

    def answer(similarity, places):
        asked.append(places)
        return answers[len(asked) - 1]

    pipe.model.attrs["align"] = answer
    assert fates(nlp(doc)) == ["projected"]
    # One place at a time: asked for together they would share the one token of the source.
    assert asked == [[(0, 1)], [(0, 1)], [(2, 3)]]
    asked.clear()
    answers[2] = [[Candidate(1, 2, 0.9)]]
    assert fates(nlp(tiny.parallel(nlp, "Nokia won", [(0, 5, "ORG")], "Nokia won Nokia"))) == ["unconfirmed"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("temperature", 0.5), ("min_score", 0.99), ("max_length", 1)],
)
def test_settings_of_the_aligner_show(checkpoint, setting, value):
    found = []
    for settings in ({}, {setting: value}):
        nlp = tiny.make_projector(checkpoint, **settings)
        found.append([state(doc) for doc in nlp.pipe(pairs(nlp))])
    assert found[0] != found[1]


def test_projections_are_scored(checkpoint):
    nlp = tiny.make_projector(checkpoint)
    examples = [
        Example(doc, Example.from_dict(nlp.make_doc(text), {"entities": entities}).reference)
        for doc, (text, entities, _) in zip(pairs(nlp), tiny.SENTENCES, strict=True)
    ]
    assert annotate(nlp, examples)["ents_f"] == 1
    assert nlp.update(examples) == {}


def test_a_trained_aligner_marks_the_entities_of_the_source(trained):
    assert trained.get_pipe("entity_projector").is_trainable
    assert annotate(trained, tiny.triples(trained))["ents_f"] > 0.9
    docs = [tiny.parallel(trained, text, entities) for text, entities, _ in tiny.SENTENCES[:2]]
    for doc, (_, entities, _) in zip(trained.pipe(docs), tiny.SENTENCES, strict=False):
        found, scores, _ = state(doc)
        assert found == entities
        assert all(0.5 < score <= 1 for score in scores)


@pytest.mark.parametrize(("setting", "value"), [("threshold", 0.0), ("max_gap", 0)])
def test_settings_of_the_trained_aligner_show(checkpoint, setting, value):
    losses = []
    for settings in ({}, {setting: value}):
        fix_random_seed(0)
        nlp = tiny.make_aligner(checkpoint, **settings)
        examples = tiny.triples(nlp)
        optimizer = nlp.initialize(lambda examples=examples: examples)
        optimizer.learn_rate = 0.01
        for _ in range(5):
            nlp.update(examples, sgd=optimizer, losses={})
        found = [row for doc in nlp.pipe([eg.predicted for eg in examples]) for row in doc._.projection]
        pipe = nlp.get_pipe("entity_projector")
        losses.append((found, pipe.model.attrs["mark"].keywords["max_gap"]))
    assert losses[0] != losses[1]


def test_pieces_have_the_label_of_their_token_and_tokens_the_mean_of_their_pieces():
    pieces = TokenPieces(numpy.array([0, 2, 2, 5]), numpy.array([2, 2, 5, 6]))
    gold = Gold(numpy.array([True, True, False, True]), numpy.array([True, True, True, False]))
    inside, known = to_pieces(gold, pieces, 7)
    # The last piece belongs to no token.
    assert inside.tolist() == [True, True, False, False, False, True, False]
    assert known.tolist() == [True] * 5 + [False, False]
    probabilities = numpy.array([0.2, 0.4, 0.3, 0.6, 0.9, 0.7, 0.5])
    assert mean_of_pieces(probabilities, pieces) == pytest.approx([0.3, 0.0, 0.6, 0.7])


@pytest.mark.parametrize("label_pieces", [False, True])
def test_the_loss_is_over_first_pieces_or_all_of_them(checkpoint, label_pieces):
    nlp = tiny.make_aligner(checkpoint, label_pieces=label_pieces)
    examples = tiny.triples(nlp)[:2]
    nlp.initialize(lambda: examples)
    pipe = nlp.get_pipe("entity_projector")
    for module in pipe.model.get_ref("tok2vec").shims[0].network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    # Its rows are equal until they are trained.
    pipe.model.get_ref("output").set_param(
        "W", numpy.random.default_rng(0).normal(size=(2, tiny.WIDTH)).astype("f")
    )
    losses = []
    for example in examples:
        doc, gold = example.predicted, _gold(example)
        query = Query(doc._.source.ents[0].text, doc, by_piece=True)
        [inside] = pipe.model.get_ref("inside").predict([query])
        [pieces] = pieces_of(pipe.model.get_ref("tok2vec"), [doc])
        for first, end, is_inside in zip(*pieces, gold.inside, strict=True):
            assert end > first
            for piece in range(first, end if label_pieces else first + 1):
                losses.append(-numpy.log(inside[piece, int(is_inside)]))
    assert any(len(token) > 1 for token in examples[0].predicted)
    loss = nlp.update(examples, losses={}, drop=0.0)["entity_projector"]
    assert loss == pytest.approx(numpy.mean(losses), rel=1e-4)


def test_an_aligner_of_all_pieces_learns(checkpoint):
    fix_random_seed(0)
    nlp = tiny.make_aligner(checkpoint, label_pieces=True)
    examples = tiny.triples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.003
    losses = [nlp.update(examples, sgd=optimizer, drop=0.0)["entity_projector"] for _ in range(30)]
    assert losses[-1] < losses[0] / 2
    assert next(iter(nlp.pipe([eg.predicted for eg in examples])))._.projection


def test_settings_of_the_trained_aligner_can_be_changed_where_it_is_loaded(checkpoint, tmp_path):
    nlp = tiny.make_aligner(checkpoint, threshold=0.3)
    nlp.initialize(lambda: tiny.triples(nlp))
    nlp.to_disk(tmp_path)
    changes = {"components": {"entity_projector": {"model": {"threshold": 0.99, "max_gap": 7}}}}
    for config, expected in (({}, (0.3, 1)), (changes, (0.99, 7))):
        mark = spacy.load(tmp_path, config=config).get_pipe("entity_projector").model.attrs["mark"]
        # Older versions of thinc read 0.3 as 0.30000000000000004.
        assert (mark.keywords["threshold"], mark.keywords["max_gap"]) == pytest.approx(expected)


def test_an_encoder_of_spacy_can_learn(checkpoint):
    nlp = tiny.blank()
    encoder = {
        "@architectures": "spacy.HashEmbedCNN.v2", "width": 16, "depth": 1, "embed_size": 100,
        "window_size": 1, "maxout_pieces": 2, "subword_features": True, "pretrained_vectors": None,
    }  # fmt: skip
    nlp.add_pipe("entity_projector", config={"model": {"tok2vec": encoder}})
    examples = [eg for eg in tiny.triples(nlp) if eg.reference.ents]
    optimizer = nlp.initialize(lambda: examples)
    losses = [nlp.update(examples, sgd=optimizer)["entity_projector"] for _ in range(5)]
    assert 0 < losses[-1] < losses[0]


def test_places_neither_begin_nor_end_with_whitespace(checkpoint):
    nlp = tiny.make_projector(checkpoint)
    pipe = nlp.get_pipe("entity_projector")
    doc = tiny.parallel(nlp, "Nokia won", [(0, 5, "ORG")], "  Nokia \n won")
    assert [token.text for token in doc] == ["  ", "Nokia", "\n ", "won"]
    for start, end, expected in ((0, 3, [(1, 2)]), (0, 1, []), (1, 4, [(1, 4)])):
        found = [[Candidate(start, end, 0.9)]]
        pipe.model.attrs["align"] = lambda similarity, places, found=found: found
        [(_, [places], _)] = pipe.predict([doc])
        assert [place[:2] for place in places] == expected


def test_gaps_are_closed_up_to_the_setting():
    inside = numpy.array([0.9, 0.2, 0.8, 0.1, 0.1, 0.7], dtype="float32")
    spans = {gap: [c[:2] for c in mark_places(inside, threshold=0.5, max_gap=gap)] for gap in (0, 1, 2)}
    assert spans == {0: [(0, 1), (2, 3), (5, 6)], 1: [(5, 6), (0, 3)], 2: [(0, 6)]}
    assert mark_places(inside, threshold=0.95, max_gap=1) == []


def test_an_aligner_learns_from_one_entity_at_a_time(checkpoint):
    nlp = tiny.make_aligner(checkpoint)
    examples = tiny.triples(nlp)
    nlp.initialize(lambda: examples)
    text, entities, _ = tiny.SENTENCES[0]
    two = Example(tiny.parallel(nlp, text, entities), nlp.make_doc(text))
    with pytest.raises(ValueError, match=r"XNER504.*2 entities"):
        nlp.update([two], losses={})
    # Empty documents and batches are passed over.
    empty = Example(tiny.parallel(nlp, "Nokia", [(0, 5, "ORG")], ""), nlp.make_doc(""))
    assert nlp.update([empty], losses={}) == {"entity_projector": 0.0}
    assert nlp.get_pipe("entity_projector").update([], losses={}) == {"entity_projector": 0.0}


def test_tokens_without_annotation_are_not_learned_from(checkpoint):
    nlp = tiny.make_aligner(checkpoint)
    examples = tiny.triples(nlp)
    nlp.initialize(lambda: examples)
    pipe = nlp.get_pipe("entity_projector")
    pairs = [pipe._pair(examples[0].predicted)] * 2
    inside = numpy.zeros(len(examples[0].predicted), dtype=bool)
    known, unknown = Gold(inside, ~inside), Gold(inside, inside)
    loss, _ = pipe.model.attrs["learn"](pipe.model, pairs[:1], [known])
    half, _ = pipe.model.attrs["learn"](pipe.model, pairs, [known, unknown])
    assert loss == pytest.approx(half) == pytest.approx(numpy.log(2))


@pytest.mark.parametrize("make", [tiny.make_aligner, tiny.make_projector])
def test_a_batch_with_nothing_to_learn_leaves_the_encoder(checkpoint, make):
    nlp = make(checkpoint)
    pipe = nlp.get_pipe("entity_projector")
    if not pipe.is_built:
        nlp.initialize()
    encoder = pipe.model.get_ref("tok2vec")
    encoder.shims[0].network.set_frozen(-1)
    text, entities, _ = tiny.SENTENCES[0]
    doc = tiny.parallel(nlp, text, entities[:1])
    known = Example.from_dict(nlp.make_doc(text), {"entities": entities[:1]})
    optimizer = nlp.create_optimizer()
    # Adam has a momentum after the first step, which would move weights without any gradient.
    assert nlp.update([Example(doc, known.reference)], sgd=optimizer)["entity_projector"] > 0
    before = encoder.to_bytes()
    assert nlp.update([Example(doc, nlp.make_doc(text))], sgd=optimizer) == {"entity_projector": 0.0}
    assert encoder.to_bytes() == before


def test_a_similarity_aligner_learns_which_words_belong_together(checkpoint):
    text, entities, _ = tiny.SENTENCES[0]
    translation = tiny.SENTENCES[2][0]
    # Whoever wins the race in the one sentence leaves for Moscow in the other.
    both = [((0, 12), (0, 3)), ((29, 35), (13, 19))]

    def make(frozen):
        fix_random_seed(0)
        nlp = tiny.make_projector(checkpoint, rival=1.0)
        encoder = nlp.get_pipe("entity_projector").model.get_ref("tok2vec")
        encoder.shims[0].network.set_frozen(frozen)
        examples = []
        for place, target in both:
            doc = tiny.parallel(nlp, text, [(*place, "ENTITY")], translation)
            gold = Example.from_dict(nlp.make_doc(translation), {"entities": [(*target, "ENTITY")]})
            examples.append(Example(doc, gold.reference))
        return nlp, examples

    nlp, examples = make(frozen=-1)
    optimizer = nlp.create_optimizer()
    optimizer.learn_rate = 0.01
    losses = []
    for _ in range(60):
        step = {}
        nlp.update(examples, sgd=optimizer, losses=step)
        losses.append(step["entity_projector"])
    assert losses[-1] < 0.1 < losses[0]
    doc = nlp(tiny.parallel(nlp, text, entities, translation))
    assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == [(0, 3, "PER"), (13, 19, "LOC")]
    nlp, examples = make(frozen=2)
    assert nlp.update(examples, sgd=optimizer) == {}
    assert not nlp.get_pipe("entity_projector").is_trainable


@pytest.mark.shared_data
@pytest.mark.offline_encoder
def test_entities_of_europarl_are_found_again(shared_data):
    folder = shared_data / "europarl_ner"
    if not folder.is_dir():
        pytest.skip("no europarl_ner")
    nlp = spacy.blank("xx")
    nlp.add_pipe("entity_projector", config={"keep_incomplete": True})
    nlp.initialize()
    examples = []
    both = [list(read_tagged(folder / lang / "test.conll02", lang))[:100] for lang in ("en", "es")]
    for english, spanish in zip(*both, strict=True):
        reference = make_doc(nlp.vocab, spanish, "es")
        predicted = make_doc(nlp.vocab, spanish, "es", labelled=False)
        predicted._.source = make_doc(nlp.vocab, english, "en")
        examples.append(Example(predicted, reference))
    assert annotate(nlp, examples)["ents_f"] > 0.85
