"""spaCy's own loops: bad documents in streams, training on, rehearsal, late labels, rulers."""

import copy
from pathlib import Path

import pytest
import spacy
import torch
from spacy.cli.init_config import fill_config
from spacy.cli.train import train as train_as_spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import load_config
from thinc.api import Adam, fix_random_seed, warmup_linear

from spacy_xner.attributes import has_word, is_visible, normal_language, register_attributes
from spacy_xner.corpus.docs import write_docs
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.scoring import annotate
from spacy_xner.tagger.standing import EarlierPipes

from tests import tiny

CONFIGS = sorted(Path("configs").glob("*.cfg"))
HEADS = {
    "softmax": {},
    "softmax-iob1": {"scheme": "IOB1"},
    "crf": {"model": {"head": tiny.CRF_HEAD}},
    "crf-bioes": {"model": {"head": tiny.CRF_HEAD}, "scheme": "BIOES"},
}
TEXT = tiny.TEXTS[0]
THE, RACE, LISBON = (17, 20), (21, 25), (29, 35)
MISC_TEXT, MISC_PLACE = tiny.TEXTS[4], (3, 9)


def entities(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def weights(nlp, name="ner"):
    shims = [shim for node in nlp.get_pipe(name).model.walk() for shim in node.shims]
    return [p.detach().clone() for shim in shims for p in shim.network.parameters()]


@pytest.fixture(scope="module", params=HEADS)
def stored(request, checkpoint, tmp_path_factory):
    """A folder with a trained tagger of each head."""
    folder = tmp_path_factory.mktemp("stored")
    fix_random_seed(0)
    nlp = tiny.make_nlp(checkpoint, HEADS[request.param])
    tiny.train(nlp)
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def one(trained, tmp_path):
    """A copy of the softmax tagger, which may be changed."""
    trained.to_disk(tmp_path / "one")
    return spacy.load(tmp_path / "one")


# Languages


@pytest.mark.parametrize(
    ("written", "known", "expected"),
    [
        ("de", (), "de"),
        ("DE", ("de",), "de"),
        (" en ", (), "en"),
        ("en-US", ("en", "de"), "en"),
        ("en_US", (), "en"),
        ("zh-Hant-TW", ("zh",), "zh"),
        ("es-419", (), "es"),
        ("zh-yue", ("zh", "zh_yue"), "zh_yue"),
        ("zh-yue", (), "zh_yue"),  # Another language than zh, known or not.
        ("zh-TW", ("zh", "zh_TW"), "zh_TW"),
        ("be-x-old", (), "be_x_old"),
        ("simple", ("simple",), "simple"),
    ],
)
def test_the_plain_meaning_of_a_language_is_taken(written, known, expected):
    assert normal_language(written, known) == expected


NO_LANGUAGES = [["de"], {"a": 1}, b"de", 5, True, "German", "d", "de DE", "../x"]


@pytest.mark.parametrize("language", NO_LANGUAGES)
def test_what_is_no_language_is_a_coded_error(language):
    with pytest.raises(ValueError, match="XNER350"):
        normal_language(language)


@pytest.fixture(scope="module")
def routed(checkpoint):
    """Identifier and router that have learnt the sentences; do not change it."""
    fix_random_seed(0)
    nlp = tiny.make_identifier(checkpoint)
    tiny.train_identifier(nlp)
    nlp.add_pipe("cluster_router")
    examples = tiny.make_examples(nlp, known_language=False)
    nlp.get_pipe("cluster_router").initialize(lambda: examples, nlp=nlp, grouping=tiny.GROUPING)
    return nlp


def test_a_context_of_another_type_loses_its_document_only(routed):
    stream = [(text, {"language": language}) for text in tiny.TEXTS for language in ("en-US", "RU", None)]
    bad = [("bad", {"language": language}) for language in NO_LANGUAGES]
    mixed = [pair for group in zip(stream, [*bad, *bad], strict=False) for pair in group]
    with pytest.raises(ValueError, match="XNER350"):
        list(routed.pipe(mixed, as_tuples=True))
    reported = []
    try:
        routed.set_error_handler(lambda name, _, docs, error: reported.append((name, len(docs), str(error))))
        done = list(routed.pipe(mixed, as_tuples=True))
    finally:
        routed.set_error_handler(spacy.util.raise_error)
    assert [doc.text for doc, _ in done] == [text for text, _ in stream]
    assert [doc._.language for doc, _ in done][:2] == ["en", "ru"]
    assert len(reported) == len(stream)
    assert all(name == "language_identifier" and n == 1 and "XNER350" in text for name, n, text in reported)


def test_a_router_alone_checks_languages_too():
    nlp = tiny.blank()
    nlp.add_pipe("cluster_router")
    nlp.get_pipe("cluster_router").initialize(lambda: tiny.make_examples(nlp), grouping=tiny.GROUPING)
    [(doc, _)] = nlp.pipe([("Maria won", {"language": "en-GB"})], as_tuples=True)
    assert (doc._.language, doc._.cluster) == ("en", "european")
    with pytest.raises(ValueError, match="XNER350"):
        list(nlp.pipe([("Maria won", {"language": ["en"]})], as_tuples=True))


def test_batches_of_nothing_are_a_coded_error(trained):
    # spaCy makes an empty stream of them.
    for size in (0, -1):
        with pytest.raises(ValueError, match="XNER351"):
            list(trained.pipe(tiny.TEXTS, batch_size=size))


# Training on


def write_corpus(folder: Path, config: str) -> Path:
    """Write the tiny examples as corpus files, with tags and sources for those who read them."""
    register_attributes()
    nlp = tiny.blank()
    examples = tiny.triples(nlp) if config == "aligner" else tiny.make_examples(nlp)
    docs: dict[str, list[Doc]] = {}
    for example in examples:
        doc = tag(example.reference)
        doc._.source = example.predicted._.source or doc
        doc._.language = doc._.language or "en"
        docs.setdefault(doc._.language, []).append(doc)
    for split in ("train", "dev"):
        for language, group in docs.items():
            write_docs(group, folder / f"{language}-toy-{split}.spacy")
        DocBin(docs=docs["en"]).to_disk(folder / f"{split}.spacy")
    return folder


OVERRIDES = {
    "aligner": {"components.entity_projector.model.pair2vec.overlap": 8},
    "bilstm": {"vars.use_vectors": False},
    "identifier": {"components.language_identifier.model.sent2vec.overlap": 8},
    "shared": {},
    "similarity": {
        "components.entity_projector.model.tok2vec.overlap": 8,
        "vars.n_layers": 2,
        "vars.n_frozen_layers": 2,
    },
    "transfer": {"components.ner.model.tok2vec.overlap": 8, "vars.n_frozen_layers": 1},
    "transformer": {"components.ner.model.tok2vec.overlap": 8},
    "transformer_gpu": {"components.ner.model.tok2vec.overlap": 8, "system.gpu_allocator": None},
}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_pipeline_of_every_config_is_trained_on(config, checkpoint, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", config.stem)
    paths = {"encoder": checkpoint, "corpus": corpus, "curves": tmp_path / "curves.jsonl"}
    paths["average"] = tmp_path / "average"
    if config.stem == "shared":
        paths |= {"train": corpus / "train.spacy", "dev": corpus / "dev.spacy"}
    overrides = {
        f"paths.{name}": str(path) for name, path in paths.items() if name in load_config(config)["paths"]
    }
    overrides |= {"training.max_steps": 2, "training.eval_frequency": 1, **OVERRIDES[config.stem]}
    train_as_spacy(config, tmp_path / "out", overrides=overrides)
    folder = tmp_path / "out" / "model-last"
    section = (folder / "config.cfg").read_text(encoding="utf-8").partition("[training.optimizer]")[2]
    assert "${" not in section.partition("[training.score_weights]")[0]
    nlp = spacy.load(folder)
    examples = tiny.triples(nlp) if config.stem == "aligner" else tiny.make_examples(nlp)
    for example in examples:
        example.predicted._.source = example.predicted._.source or example.reference
    name = nlp.pipe_names[-1]
    before = weights(nlp, name)
    optimizer = nlp.resume_training()
    nlp.update(examples, losses={})
    nlp.update(examples, sgd=optimizer, losses={})
    if config.stem != "shared":
        nlp.rehearse(examples, losses={})
    is_trained = any(not torch.equal(a, b) for a, b in zip(before, weights(nlp, name), strict=True))
    assert is_trained == nlp.get_pipe(name).is_trainable
    assert is_trained or config.stem == "similarity"


def tag(doc: Doc) -> Doc:
    for token in doc:
        token.tag_ = "WORD"
    return doc


def test_the_default_optimizer_does_not_destroy_a_pretrained_encoder(checkpoint):
    """A pipeline of nothing but factories, as `spacy init fill-config` fills it: Adam with 0.001."""
    nlp = tiny.make_nlp(checkpoint, max_learn_rate=0.00005)
    examples = tiny.make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    assert optimizer.learn_rate == 0.001
    encoder = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    head = nlp.get_pipe("ner").model.get_ref("head").shims[0].network
    before = [copy.deepcopy(network.state_dict()) for network in (encoder, head)]
    with pytest.warns(UserWarning, match=r"XNER-W350.*0\.001"):
        nlp.update(examples, sgd=optimizer, losses={})
    # Said once: further warnings would be errors here.
    for _ in range(2):
        nlp.update(examples, sgd=optimizer, losses={})
    moved = [
        max(float((network.state_dict()[name] - tensor).abs().max()) for name, tensor in state.items())
        for network, state in zip((encoder, head), before, strict=True)
    ]
    # Three steps of Adam move no weight by more than the rate each.
    assert 0 < moved[0] < 4 * 0.00005
    assert moved[1] > 2 * 0.001


@pytest.mark.parametrize("use_averages", [False, True])
def test_the_limit_of_the_rate_is_that_of_a_lower_rate(checkpoint, use_averages):
    found = []
    for limit, rate in ((0.0005, 0.005), (None, 0.0005)):
        fix_random_seed(0)
        nlp = tiny.make_nlp(checkpoint, max_learn_rate=limit)
        examples = tiny.make_examples(nlp)
        nlp.initialize(lambda examples=examples: examples)
        shim = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0]
        optimizer = Adam(rate, L2=0.1, L2_is_weight_decay=True, use_averages=use_averages)
        for parameter in shim.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        if limit is not None:
            with pytest.warns(UserWarning, match="XNER-W350"):
                shim.finish_update(optimizer)
        else:
            shim.finish_update(optimizer)
        found.append([p.detach().clone() for p in shim.network.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=0)


def test_the_limit_is_the_default_of_a_bare_factory(tmp_path):
    config = tmp_path / "bare.cfg"
    factory = '[components]\n[components.ner]\nfactory = "transformer_ner"\n'
    config.write_text(f'[nlp]\nlang = "xx"\npipeline = ["ner"]\n{factory}')
    fill_config(tmp_path / "filled.cfg", config, silent=True)
    filled = load_config(tmp_path / "filled.cfg", interpolate=True)
    assert filled["components"]["ner"]["model"]["tok2vec"]["max_learn_rate"] == 0.00005
    assert filled["components"]["ner"]["overwrite"] is False


def test_a_loop_that_stays_at_the_beginning_of_a_warm_up_is_told(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    examples = tiny.make_examples(nlp)
    nlp.initialize(lambda: examples)
    optimizer = Adam(warmup_linear(0.01, 10, 100))
    nlp.update(examples, sgd=optimizer)
    with pytest.warns(UserWarning, match="XNER-W352"):
        nlp.update(examples, sgd=optimizer)
    stepped = tiny.make_nlp(checkpoint)
    stepped.initialize(lambda: examples)
    for _ in range(3):
        stepped.update(examples, sgd=optimizer)
        optimizer.step_schedules()


# Rehearsal


def test_rehearsal_holds_a_tagger_to_what_it_knew(stored):
    """Taught that Lisbon is a person, it forgets what a place is, unless it rehearses."""
    divergences = []
    for rehearses in (False, True):
        fix_random_seed(0)
        nlp = spacy.load(stored)
        optimizer = nlp.resume_training()
        optimizer.learn_rate = 0.002
        raw = [Example(nlp.make_doc(text), nlp.make_doc(text)) for text in tiny.TEXTS[1:]]
        ner = nlp.get_pipe("ner")
        before = ner.model.predict([example.predicted for example in raw])
        assert nlp.rehearse(raw, sgd=optimizer, losses={}) == {"ner": 0.0}
        taught = Example.from_dict(nlp.make_doc(TEXT), {"entities": [(0, 12, "LOC"), (*LISBON, "PER")]})
        for _ in range(15):
            nlp.update([taught], sgd=optimizer, losses={})
            if rehearses:
                assert nlp.rehearse(raw, sgd=optimizer, losses={})["ner"] > 0
        after = ner.model.predict([example.predicted for example in raw])
        divergences.append(sum(float(((a - b) ** 2).mean()) for a, b in zip(before, after, strict=True)))
    assert divergences[1] < divergences[0]


def test_a_rehearsal_alone_moves_nothing_from_where_it_is(one):
    before = weights(one)
    raw = [Example(one.make_doc(text), one.make_doc(text)) for text in tiny.TEXTS]
    optimizer = one.resume_training()
    one.rehearse(raw, sgd=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))


def test_an_encoder_with_a_limit_is_not_rehearsed_at_the_full_rate(one):
    shim = one.get_pipe("ner").model.get_ref("tok2vec").shims[0]
    shim.max_learn_rate = 0.00005
    raw = [Example(one.make_doc(text), one.make_doc(text)) for text in tiny.TEXTS]
    optimizer = one.resume_training()
    optimizer.learn_rate = 0.001
    with pytest.warns(UserWarning, match="XNER-W350"):
        one.update(tiny.make_examples(one)[:1], sgd=optimizer)
    one.rehearse(raw, sgd=optimizer)
    one.update(tiny.make_examples(one)[:1], sgd=optimizer)
    before = [p.detach().clone() for p in shim.network.parameters()]
    one.rehearse(raw, sgd=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, shim.network.parameters(), strict=True))
    waiting = [p.grad for p in shim.network.parameters() if p.grad is not None]
    assert any(bool(grad.any()) for grad in waiting)
    one.update(tiny.make_examples(one)[:1], sgd=optimizer)
    assert any(not torch.equal(a, b) for a, b in zip(before, shim.network.parameters(), strict=True))


def test_a_tagger_that_listens_does_not_rehearse(checkpoint):
    config = load_config("configs/shared.cfg", overrides={"paths.encoder": str(checkpoint)})
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    examples = tiny.make_examples(nlp)
    for example in examples:
        tag(example.reference)
    nlp.initialize(lambda: examples)
    with pytest.warns(UserWarning, match="XNER-W351"):
        assert nlp.get_pipe("ner").rehearse(examples) == {"ner": 0.0}
    assert nlp.get_pipe("ner").rehearse(examples) == {"ner": 0.0}


# Late labels


def test_a_late_label_changes_nothing_until_it_is_learnt(stored):
    nlp = spacy.load(stored)
    ner = nlp.get_pipe("ner")
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 0.02
    nlp.update(tiny.make_examples(nlp), sgd=optimizer)
    before = [nlp(text) for text in tiny.TEXTS]
    labels = ner.labels
    assert ner.add_label("MISC") == 1
    assert ner.add_label("AAA") == 1
    assert ner.labels == (*labels, "MISC", "AAA")
    for a, b in zip(before, map(nlp, tiny.TEXTS), strict=True):
        assert entities(a) == entities(b)
        assert a.spans["xner"].attrs["scores"] == pytest.approx(b.spans["xner"].attrs["scores"], abs=1e-6)
    # The optimizer goes on with its moments of the encoder, and begins anew with the head's.
    examples = tiny.make_examples(nlp)
    examples[4] = Example.from_dict(nlp.make_doc(MISC_TEXT), {"entities": [(*MISC_PLACE, "MISC")]})
    losses = [nlp.update(examples, sgd=optimizer, losses={})["ner"] for _ in range(80)]
    assert losses[-1] < losses[0] / 10
    assert entities(nlp(MISC_TEXT)) == [(*MISC_PLACE, "MISC")]
    assert entities(nlp(TEXT)) == tiny.SENTENCES[0][1]


def test_late_labels_are_stored_and_gone_on_from(stored, checkpoint, request, tmp_path):
    nlp = spacy.load(stored)
    nlp.get_pipe("ner").add_label("AAA")
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("ner").labels == ("LOC", "ORG", "PER", "AAA")
    assert entities(again(TEXT)) == entities(nlp(TEXT))
    settings = HEADS[request.node.callspec.params["stored"]]
    other = tiny.make_nlp(checkpoint, settings)
    other.get_pipe("ner").initialize(lambda: tiny.make_examples(other), nlp=other, weights=tmp_path)
    assert other.get_pipe("ner").labels == ("LOC", "ORG", "PER", "AAA")
    assert entities(other(TEXT)) == entities(nlp(TEXT))


def test_a_late_language_is_a_coded_error(routed):
    with pytest.raises(ValueError, match="XNER305"):
        routed.get_pipe("language_identifier").add_label("fi")


def test_late_labels_after_a_rehearsal_are_rehearsed_too(one):
    raw = [Example(one.make_doc(text), one.make_doc(text)) for text in tiny.TEXTS]
    optimizer = one.resume_training()
    one.rehearse(raw, sgd=optimizer)
    one.update(tiny.make_examples(one), sgd=optimizer)
    one.get_pipe("ner").add_label("MISC")
    # The teacher is the tagger with the new label from now on.
    assert one.rehearse(raw, sgd=optimizer, losses={}) == {"ner": 0.0}
    one.update(tiny.make_examples(one), sgd=optimizer)
    assert one.rehearse(raw, sgd=optimizer, losses={})["ner"] > 0


# Entities of other components


def add_ruler(nlp, name="entity_ruler", **config):
    ruler = nlp.add_pipe(name, before="ner", config=config)
    ruler.add_patterns([{"label": "EVENT", "pattern": "race"}, {"label": "CITY", "pattern": "in Lisbon"}])
    return nlp


EXPECTED = [(0, 12, "PER"), (*RACE, "EVENT"), (26, 35, "CITY")]


@pytest.mark.parametrize(
    ("factory", "config"), [("entity_ruler", {}), ("span_ruler", {"annotate_ents": True, "spans_key": None})]
)
def test_a_rulers_entities_stay(one, factory, config):
    nlp = add_ruler(one, factory, **config)
    doc = nlp(TEXT)
    scores = doc.spans["xner"].attrs["scores"]
    for _ in range(2):
        assert entities(doc) == EXPECTED
        assert [(s.start_char, s.end_char, s.label_) for s in doc.spans["xner"]] == EXPECTED
        assert doc.spans["xner"].attrs["scores"] == scores
        assert scores[1:] == [1.0, 1.0] > scores[:1]
        doc = nlp(doc)
    nlp.get_pipe("ner").overwrite = True
    assert entities(nlp(TEXT)) == tiny.SENTENCES[0][1]
    nlp.get_pipe("ner").overwrite = False
    # The same after sending, and where nothing is kept of the spans.
    piped = list(nlp.pipe([TEXT, TEXT], n_process=2))
    assert [entities(doc) for doc in piped] == [EXPECTED, EXPECTED]


def test_a_rulers_entities_stay_after_loading_and_pickling(one, tmp_path):
    add_ruler(one).to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert entities(loaded(TEXT)) == EXPECTED
    # A spawned process gets the components without the pipeline.
    earlier = copy.copy(loaded.get_pipe("ner").earlier)
    assert earlier._nlp is None
    doc = loaded.get_pipe("entity_ruler")(loaded.make_doc(TEXT))
    assert [ent.label_ for ent in earlier.entities(doc, "xner")] == ["EVENT", "CITY"]


def test_a_tagger_in_another_pipeline_believes_what_is_there(one):
    nlp = tiny.blank()
    nlp.add_pipe("ner", source=one)
    assert entities(add_ruler(nlp)(TEXT)) == EXPECTED
    doc = nlp(TEXT)
    assert EarlierPipes(None).entities(doc, "") == list(doc.ents)


def gold(nlp, label="GOLD"):
    """An annotated document of a corpus: what no model would find."""
    doc = nlp.make_doc(TEXT)
    doc.ents = [doc.char_span(*RACE, label=label), doc.char_span(*THE, label=label)]
    return doc


@pytest.mark.parametrize("has_ruler", [False, True])
def test_gold_annotation_does_not_pass_for_predictions(one, has_ruler, tmp_path):
    nlp = add_ruler(one) if has_ruler else one
    expected = EXPECTED if has_ruler else tiny.SENTENCES[0][1]
    assert entities(nlp(gold(nlp))) == expected
    [doc] = nlp.pipe(DocBin(docs=[gold(nlp)]).get_docs(nlp.vocab))
    assert entities(doc) == expected
    # An example that is its own prediction.
    own = Example(gold(nlp), gold(nlp))
    assert nlp.evaluate([own])["ents_f"] == 0.0
    assert annotate(nlp, [Example(gold(nlp), gold(nlp))])["ents_f"] == 0.0
    # Examples as the corpus reader makes them, on gold tokens or the tokenizer's.
    register_attributes()
    written = gold(nlp)
    written._.language = "en"
    write_docs([written], tmp_path / "en-toy-test.spacy")
    for gold_tokens in (True, False):
        examples = list(create_multilingual_corpus(tmp_path, gold_tokens=gold_tokens)(nlp))
        assert not examples[0].predicted.ents
        assert nlp.evaluate(examples)["ents_f"] == 0.0


def test_entities_of_components_that_say_nothing_are_believed(one):
    @Language.component("set_cities_in_tests")
    def set_cities(doc):
        span = doc.char_span(*LISBON, label="CITY")
        doc.set_ents([span] if span is not None else [], default="unmodified")
        return doc

    one.add_pipe("set_cities_in_tests", before="ner")
    doc = one(TEXT)
    for _ in range(2):
        assert entities(doc) == [(0, 12, "PER"), (*LISBON, "CITY")]
        assert doc.spans["xner"].attrs["preset"] == [False, True]
        doc = one(doc)
    # Sentence boundaries and the like are no entities.
    one.remove_pipe("set_cities_in_tests")
    one.add_pipe("sentencizer", before="ner")
    assert entities(one(gold(one))) == tiny.SENTENCES[0][1]


def test_a_rulers_entities_stay_in_routed_sentences(one):
    """Two sentences are the tagger's, one is somebody else's, and an entity reaches over the border."""
    nlp = one
    ruler = nlp.add_pipe("entity_ruler", before="ner")
    ruler.add_patterns([{"label": label, "pattern": text} for label, text in (
        ("EVENT", "race"), ("ODD", "Lisbon. It"), ("DAY", "day"),
    )])  # fmt: skip
    nlp.get_pipe("ner").clusters = ["a"]
    doc = nlp.make_doc(f"{TEXT} It rained all day. {tiny.TEXTS[1]}")
    doc.spans["clusters"] = [
        Span(doc, start, end, label=label) for start, end, label in ((0, 8, "a"), (8, 13, "b"), (13, 17, "a"))
    ]
    for _ in range(2):
        doc = nlp(doc)
        assert [(ent.text, ent.label_) for ent in doc.ents] == [
            ("Maria Santos", "PER"), ("race", "EVENT"), ("Lisbon. It", "ODD"), ("day", "DAY"),
            ("Toyota", "ORG"), ("Nokia", "ORG"),
        ]  # fmt: skip
        assert [span.text for span in doc.spans["xner"]] == [
            "Maria Santos", "race", "Lisbon. It", "Toyota", "Nokia"
        ]  # fmt: skip
        assert doc.spans["xner"].attrs["preset"] == [False, True, True, False, False]
        assert doc.spans["xner"].attrs["scores"][1:3] == [1.0, 1.0]


def test_two_taggers_do_not_take_each_other_for_rulers(one, tmp_path):
    """As in an assembled pipeline: a gold document of the second tagger's cluster."""
    one.to_disk(tmp_path)
    one.add_pipe("ner", name="second", source=spacy.load(tmp_path))
    for name, cluster in (("ner", "a"), ("second", "b")):
        one.get_pipe_config(name)["clusters"] = [cluster]
    one.to_disk(tmp_path / "both")
    nlp = spacy.load(tmp_path / "both")
    for cluster in "ab":
        doc = gold(nlp)
        doc._.cluster = cluster
        assert entities(nlp(doc)) == tiny.SENTENCES[0][1]


# Entities that nobody would read as names


@pytest.mark.parametrize(
    ("text", "word", "visible"),
    [
        ("Maria", True, True), ("東京", True, True), ("7", True, True), ("--", False, True),
        ("🇫", False, True), ("\u200e", False, False), ("\x7f", False, False), ("\u3164", False, False),
        ("\u0301\u200d", False, False), ("", False, False),
    ],
)  # fmt: skip
def test_words_and_what_is_to_be_seen(text, word, visible):
    assert (has_word(text), is_visible(text)) == (word, visible)


SYMBOLS = [("Maria -- won", [(0, 5, "PER"), (6, 8, "ORG")]), ("It \u200e won", [(3, 4, "LOC")])]


@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_symbols_are_entities_only_where_training_has_such(checkpoint, head):
    nlp = tiny.make_nlp(checkpoint, HEADS[head])
    examples = [Example.from_dict(nlp.make_doc(text), {"entities": ents}) for text, ents in SYMBOLS]
    tiny.fit(nlp, examples, "ner", 60, 0.02)
    ner = nlp.get_pipe("ner")
    assert ner.cfg["symbols"] is True
    assert entities(nlp(SYMBOLS[0][0])) == SYMBOLS[0][1]
    # Nothing is to be seen of it, whatever was learnt.
    assert entities(nlp(SYMBOLS[1][0])) == []
    ner.cfg["symbols"] = False
    doc = nlp(SYMBOLS[0][0])
    assert entities(doc) == SYMBOLS[0][1][:1]
    assert len(doc.spans["xner"].attrs["scores"]) == 1


def test_symbols_may_come_with_later_examples(one):
    assert one.get_pipe("ner").cfg["symbols"] is False
    example = Example.from_dict(one.make_doc("Maria -- won"), {"entities": [(6, 8, "ORG")]})
    one.update([example], sgd=one.resume_training())
    assert one.get_pipe("ner").cfg["symbols"] is True
