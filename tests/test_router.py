"""The language identifier, the router, and the pipeline that they make with taggers."""

import numpy
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import fix_random_seed
from transformers import AutoModel, AutoTokenizer

from spacy_xner.attributes import cut_out
from spacy_xner.router.assemble import assemble
from spacy_xner.router.grouping import Grouping
from spacy_xner.transformer.model import build_sentence_encoder

from tests import tiny

TEXTS = tiny.TEXTS
LANGUAGES = [language for _, _, language in tiny.SENTENCES]


@pytest.fixture(scope="module")
def identifier(checkpoint):
    """An identifier that has learnt the tiny sentences; do not change it."""
    fix_random_seed(0)
    nlp = tiny.make_identifier(checkpoint)
    losses = tiny.train_identifier(nlp)
    assert losses[-1] < losses[0] / 5
    return nlp


@pytest.fixture(scope="module")
def folder(checkpoint, identifier, tmp_path_factory):
    """An identifier and a tagger a cluster, on disk."""
    path = tmp_path_factory.mktemp("parts")
    identifier.to_disk(path / "identifier")
    (path / "taggers").mkdir()
    for cluster in tiny.GROUPING["clusters"]:
        fix_random_seed(0)
        nlp = tiny.make_nlp(checkpoint, {"clusters": [cluster]})
        tiny.train(nlp)
        nlp.to_disk(path / "taggers" / cluster)
    return path


@pytest.fixture(scope="module")
def routed(folder):
    """The assembled pipeline; do not change it."""
    return assemble_parts(folder)


def assemble_parts(folder, **options):
    nlp = assemble(
        Grouping.from_json(tiny.GROUPING, ""), folder / "taggers", folder / "identifier", **options
    )
    initialize_router(nlp)
    return nlp


def initialize_router(nlp, grouping=tiny.GROUPING):
    examples = tiny.make_examples(nlp, known_language=False)
    nlp.get_pipe("cluster_router").initialize(lambda: examples, nlp=nlp, grouping=grouping)


def entities(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


@pytest.mark.parametrize("pooling", ["first", "max"])
def test_text_vectors_equal_those_of_the_plain_transformer(checkpoint, pooling):
    model = build_sentence_encoder(str(checkpoint), pooling=pooling, overlap=8)
    model.initialize()
    nlp = spacy.blank("xx")
    found = model.predict([nlp.make_doc(text) for text in ["", *TEXTS]])
    assert not found[0].any()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    encoder = AutoModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    for text, vector in zip(TEXTS, found[1:], strict=True):
        with torch.no_grad():
            hidden = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = hidden[0] if pooling == "first" else hidden[1:-1].max(0).values
        assert numpy.allclose(vector, expected, atol=1e-5)


def test_long_texts_are_the_mean_of_their_windows(checkpoint):
    model = build_sentence_encoder(str(checkpoint), window=12, overlap=2)
    model.initialize()
    network = model.shims[0].network.eval()
    text = "Lisbon in rain Lisbon"
    pieces = network.split([text])[0].ids
    assert len(pieces) == 20
    # Three windows of one length that share at least two pieces.
    windows = [pieces[:8], pieces[6:14], pieces[12:]]
    with torch.no_grad():
        first = [
            network.encoder(input_ids=torch.tensor([[0, *w, 2]])).last_hidden_state[0, 0] for w in windows
        ]
    found = model.predict([spacy.blank("xx").make_doc(text)])[0]
    assert numpy.allclose(found, torch.stack(first).mean(0), atol=1e-5)


def test_only_the_lowest_layers_are_kept(checkpoint):
    model = build_sentence_encoder(str(checkpoint), n_layers=1, overlap=8)
    model.initialize()
    encoder = AutoModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    inputs = AutoTokenizer.from_pretrained(checkpoint)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        expected = encoder(**inputs, output_hidden_states=True).hidden_states[1][0, 0]
    assert numpy.allclose(model.predict([spacy.blank("xx").make_doc(TEXTS[0])])[0], expected, atol=1e-5)
    again = build_sentence_encoder("nowhere", overlap=8).from_bytes(model.to_bytes())
    assert len(again.shims[0].network.encoder.encoder.layer) == 1
    with pytest.raises(ValueError, match="XNER207"):
        build_sentence_encoder(str(checkpoint), n_layers=3, overlap=8).initialize()


def test_languages_are_learnt_with_probabilities(identifier):
    for doc, language in zip(identifier.pipe(TEXTS), LANGUAGES, strict=True):
        assert doc._.language == language
        assert sum(doc._.language_scores.values()) == pytest.approx(1, abs=1e-4)
        group = doc.spans["languages"]
        assert [(s.start, s.end, s.label_) for s in group] == [(0, len(doc), language)]
        assert group.attrs["scores"] == [pytest.approx(doc._.language_scores[language], abs=1e-5)]
        assert group.attrs["vectors"].shape == (1, tiny.WIDTH)


def test_below_the_least_probability_a_language_is_a_guess(folder):
    routed = {}
    for least in (0.0, 1.0):
        nlp = assemble_parts(folder)
        nlp.get_pipe("language_identifier").min_probability = least
        routed[least] = list(nlp.pipe([*TEXTS, "Pozdrav iz Zagreba"]))
    for known_doc, doc in zip(routed[0.0], routed[1.0], strict=True):
        assert known_doc._.language is not None
        assert max(doc._.language_scores.values()) < 1
        assert doc._.language is None
        # What a router and others read is there as before.
        assert doc._.language_scores == known_doc._.language_scores
        [segment], [known_segment] = doc.spans["languages"], known_doc.spans["languages"]
        assert segment.label_ == known_segment.label_ == known_doc._.language
        assert (doc._.cluster, doc._.cluster_score) == (known_doc._.cluster, known_doc._.cluster_score)
        assert entities(doc) == entities(known_doc)


def test_the_loss_is_the_cross_entropy_and_its_gradient(identifier):
    pipe = identifier.get_pipe("language_identifier")
    examples = tiny.make_examples(identifier, known_language=False)[:3]
    scores = torch.randn(3, 3, requires_grad=True)
    gold = torch.tensor([pipe.labels.index(eg.reference._.language) for eg in examples])
    expected = torch.nn.functional.cross_entropy(scores, gold)
    expected.backward()
    loss, gradient = pipe.get_loss(examples, scores.detach().softmax(1).numpy())
    assert loss == pytest.approx(float(expected.detach()), abs=1e-6)
    assert numpy.allclose(gradient, scores.grad, atol=1e-6)


def test_preset_languages_are_respected(identifier):
    doc = identifier.make_doc(TEXTS[0])
    doc._.language = "zh"
    assert identifier.get_pipe("language_identifier")(doc)._.language == "zh"
    assert "languages" not in doc.spans
    pairs = [(TEXTS[0], {"language": "ru"}), (TEXTS[0], None), (TEXTS[0], {"language": "nl"})]
    docs = [doc for doc, _ in identifier.pipe(pairs, as_tuples=True)]
    assert [doc._.language for doc in docs] == ["ru", "en", "nl"]
    # What the identifier does not know is looked at, for the router's sake, but keeps its language.
    assert [("languages" in doc.spans) for doc in docs] == [False, True, True]
    assert docs[2].spans["languages"][0].label_ == "nl"


def test_the_scorer_counts_languages(identifier):
    examples = tiny.make_examples(identifier, known_language=False)
    scores = identifier.evaluate(examples)
    assert scores["language_acc"] == 1.0
    assert scores["language_per_type"]["en"]["support"] == LANGUAGES.count("en")
    examples[0].reference._.language = "zh"
    scores = identifier.evaluate(examples)
    assert scores["language_acc"] == pytest.approx(0.8)
    assert scores["language_per_type"]["zh"]["r"] == 0.5
    for example in examples:
        example.reference._.language = None
    assert identifier.evaluate(examples)["language_acc"] is None


def test_one_language_is_an_error(checkpoint):
    nlp = tiny.make_identifier(checkpoint)
    examples = tiny.make_examples(nlp)[:2]
    with pytest.raises(ValueError, match="XNER401"):
        nlp.initialize(lambda: examples)


def test_unknown_and_blank_texts_add_nothing_to_the_loss(checkpoint):
    nlp = tiny.make_identifier(checkpoint)
    optimizer = nlp.initialize(lambda: tiny.make_examples(nlp))
    before = nlp.get_pipe("language_identifier").model.to_bytes()
    examples = []
    for text, language in (("", "en"), ("hello", "fi"), ("hello", None)):
        doc = nlp.make_doc(text)
        example = Example(doc, doc.copy())
        example.reference._.language = language
        examples.append(example)
    assert nlp.update(examples, sgd=optimizer)["language_identifier"] == 0.0
    assert nlp.get_pipe("language_identifier").model.to_bytes() == before


def test_labels_can_be_given_and_not_added_late(checkpoint):
    nlp = tiny.make_identifier(checkpoint)
    pipe = nlp.get_pipe("language_identifier")
    with pytest.raises(ValueError, match="XNER301"):
        nlp("text")
    pipe.initialize(lambda: tiny.make_examples(nlp), nlp=nlp, labels=["ru", "en"])
    assert pipe.label_data == ("en", "ru")
    assert pipe.add_label("en") == 0
    with pytest.raises(ValueError, match="XNER305"):
        pipe.add_label("fi")
    with pytest.raises(ValueError, match="XNER307"):
        pipe.add_label("")


def test_texts_are_routed_and_tagged_by_their_cluster(routed):
    docs = list(routed.pipe(TEXTS))
    clusters = ["asian" if language == "zh" else "european" for language in LANGUAGES]
    assert [doc._.cluster for doc in docs] == clusters
    assert all(doc._.cluster_score > 0.5 for doc in docs)
    assert [entities(doc) for doc in docs] == [ents for _, ents, _ in tiny.SENTENCES]
    only = routed.select_pipes(disable=["ner_european"])
    with only:
        found = [bool(doc.ents) for doc in routed.pipe(TEXTS)]
    assert found == [language == "zh" for language in LANGUAGES]


def test_the_assembled_pipeline_survives_saving(routed, tmp_path):
    routed.to_disk(tmp_path / "xner")
    fix_random_seed(1)
    nlp = spacy.load(tmp_path / "xner")
    config = spacy.blank("xx").from_config(routed.config).from_bytes(routed.to_bytes())
    for again in (nlp, config):
        for a, b in zip(again.pipe(TEXTS), routed.pipe(TEXTS), strict=True):
            assert entities(a) == entities(b)
            assert (a._.language, a._.cluster) == (b._.language, b._.cluster)
            assert a._.cluster_score == pytest.approx(b._.cluster_score, abs=1e-5)


def test_two_processes_and_single_calls_route_alike(routed):
    texts = ["", *TEXTS, " ", *TEXTS]
    for doc, text in zip(routed.pipe(texts, n_process=2, batch_size=4), texts, strict=True):
        own = routed(text)
        assert (doc._.language, doc._.cluster, entities(doc)) == (
            own._.language,
            own._.cluster,
            entities(own),
        )
        if text.strip():
            assert numpy.allclose(
                doc.spans["languages"].attrs["vectors"], own.spans["languages"].attrs["vectors"], atol=1e-5
            )
        else:
            assert (doc._.language, doc._.cluster) == (None, None)


def a_router(**config):
    nlp = spacy.blank("xx")
    router = nlp.add_pipe("cluster_router", config=config)
    router.set_grouping(Grouping.from_json(tiny.GROUPING, ""))
    router._set_means({lang: numpy.eye(3, dtype="float32")[i] for i, lang in enumerate(["en", "ru", "zh"])})
    return nlp, router


def identified(nlp, language, probabilities, vector=(0, 0, 1), text="abc def"):
    doc = nlp.make_doc(text)
    doc.spans["languages"] = [doc[:]]
    doc.spans["languages"][0].label_ = language
    doc.spans["languages"] = [spacy.tokens.Span(doc, 0, len(doc), label=language)]
    doc.spans["languages"].attrs.update(
        probabilities=[probabilities], vectors=numpy.array([vector], dtype="float32")
    )
    return doc


def test_languages_of_a_cluster_add_up():
    nlp, router = a_router()
    doc = router(identified(nlp, "zh", {"en": 0.3, "ru": 0.3, "zh": 0.4}))
    assert (doc._.cluster, doc._.cluster_score) == ("european", pytest.approx(0.6))


def test_below_the_threshold_the_vector_decides():
    nlp, router = a_router(threshold=0.7)
    doc = router(identified(nlp, "zh", {"en": 0.3, "ru": 0.3, "zh": 0.4}))
    assert doc._.cluster == "asian"
    assert doc._.cluster_score == pytest.approx(1.0)


def test_an_unseen_language_goes_to_the_nearest_cluster():
    nlp, router = a_router()
    doc = router(identified(nlp, "nl", {"en": 0.1, "ru": 0.1, "zh": 0.8}, vector=(0.9, 0.2, 0)))
    assert doc._.cluster == "european"


def test_what_is_near_to_nothing_goes_to_the_fallback():
    for threshold, expected in ((0.99, "asian"), (0.1, "european")):
        nlp, router = a_router(fallback="asian", fallback_threshold=threshold)
        doc = router(identified(nlp, "nl", {"en": 1.0}, vector=(0.7, 0.5, 0.2)))
        assert doc._.cluster == expected
    with pytest.raises(ValueError, match="XNER409"):
        a_router(fallback="african")


def test_without_means_the_fallback_or_the_largest_cluster_takes_the_unseen():
    for fallback, expected in ((None, "european"), ("asian", "asian")):
        nlp, router = a_router(fallback=fallback)
        router._set_means({})
        assert router(identified(nlp, "nl", {"en": 1.0}))._.cluster == expected


def test_preset_languages_and_clusters_need_no_identifier():
    nlp, router = a_router()
    doc = nlp.make_doc("abc")
    doc._.language = "ru"
    assert router(doc)._.cluster == "european"
    doc = nlp.make_doc("abc")
    doc._.cluster = "asian"
    assert router(doc)._.cluster == "asian"
    assert [d._.cluster for d, _ in nlp.pipe([("abc", {"language": "zh"})], as_tuples=True)] == ["asian"]
    # In no cluster, and without a vector: as where there are no means.
    assert [d._.cluster for d, _ in nlp.pipe([("abc", {"language": "nl"})], as_tuples=True)] == ["european"]
    with pytest.raises(ValueError, match="XNER407"):
        nlp("abc")
    nlp, router = a_router(fallback="asian")
    assert nlp("abc")._.cluster == "asian"


def test_functions_may_stand_before_the_router():
    nlp = spacy.blank("xx")
    nlp.add_pipe("doc_cleaner")
    Language.component("as_it_is", func=lambda doc: doc)
    nlp.add_pipe("as_it_is")
    router = nlp.add_pipe("cluster_router")
    doc = nlp.make_doc("x")
    doc._.language = "en"
    router.initialize(lambda: [Example(doc, doc)], nlp=nlp, grouping=tiny.GROUPING)
    assert router.means == {}


@pytest.mark.parametrize("text", ["One. Two  three.\n Four", "a"])
def test_segments_are_cut_out_as_spacy_does(text):
    doc = spacy.blank("en")(text)
    for token in doc:
        token.pos_, token.tag_, token.lemma_ = "NOUN", f"TAG{token.i}", token.text.lower()
        token.set_morph("Case=Acc")
    doc.tensor = numpy.arange(2 * len(doc), dtype="float32").reshape(-1, 2)
    for start in range(len(doc)):
        for end in range(start + 1, len(doc) + 1):
            own, expected = cut_out(doc[start:end]), doc[start:end].as_doc()
            for name in ("text_with_ws", "pos_", "tag_", "lemma_", "morph"):
                assert [str(getattr(t, name)) for t in own] == [str(getattr(t, name)) for t in expected]
            numpy.testing.assert_array_equal(own.tensor, expected.tensor)


def test_a_router_without_grouping_is_an_error():
    nlp = spacy.blank("xx")
    router = nlp.add_pipe("cluster_router")
    with pytest.raises(ValueError, match="XNER406"):
        nlp("text")
    with pytest.raises(ValueError, match="XNER406"):
        nlp.initialize(lambda: [Example.from_dict(nlp.make_doc("x"), {})])
    assert spacy.blank("xx").add_pipe("cluster_router").from_bytes(router.to_bytes()).grouping is None


def test_corpus_languages_must_stand_in_the_grouping(folder):
    nlp = assemble(Grouping.from_json(tiny.GROUPING, ""), folder / "taggers", folder / "identifier")
    with pytest.raises(ValueError, match="XNER404"):
        initialize_router(nlp, {"name": "x", "clusters": {"a": ["en", "zh"]}})


def test_a_cluster_without_a_tagger_is_an_error(folder):
    grouping = Grouping("x", {"asian": ["zh"], "african": ["sw"]})
    with pytest.raises(ValueError, match=r"XNER405.*african"):
        assemble(grouping, folder / "taggers", folder / "identifier")


def test_sentences_are_routed_each_by_itself(folder, tmp_path):
    nlp = assemble_parts(folder, level="sentence")
    nlp.to_disk(tmp_path)
    text = f"{TEXTS[1]} {TEXTS[3]}。{TEXTS[0]}"
    for pipeline in (nlp, spacy.load(tmp_path)):
        piped, called = next(iter(pipeline.pipe([text]))), pipeline(text)
        for doc in (piped, called):
            assert [(s.label_, s.text.strip()) for s in doc.spans["clusters"]] == [
                ("european", TEXTS[1]),
                ("asian", TEXTS[3] + "。"),
                ("european", TEXTS[0]),
            ]
            # The tiny tagger has never seen the full stop that ends the Chinese sentence.
            found = [e.text for e in doc.ents if e.text != "。"]
            assert found == ["Toyota", "Nokia", "联合国", "东京", "Maria Santos", "Lisbon"]
            assert [s.text for s in doc.spans["xner"]] == [e.text for e in doc.ents]
            assert len(doc.spans["xner"].attrs["scores"]) == len(doc.ents)
            assert doc._.cluster == "european"


def test_sentences_need_boundaries(folder):
    nlp = assemble_parts(folder, level="sentence")
    nlp.remove_pipe("sentencizer")
    with pytest.raises(ValueError, match="XNER408"):
        nlp(TEXTS[0])


def test_one_stack_of_frozen_layers_serves_every_component(checkpoint, tmp_path):
    settings = {"n_frozen_layers": 1}
    identifier = tiny.make_identifier(checkpoint, **settings)
    tiny.train_identifier(identifier, n_steps=2)
    identifier.to_disk(tmp_path / "identifier")
    tagger = tiny.make_nlp(checkpoint, {"clusters": ["all"]}, **settings)
    tiny.train(tagger, n_steps=20)
    (tmp_path / "taggers").mkdir()
    tagger.to_disk(tmp_path / "taggers" / "all")
    grouping = Grouping("x", {"all": ["en", "ru", "zh"]})
    nlp = assemble(grouping, tmp_path / "taggers", tmp_path / "identifier")
    initialize_router(nlp, grouping.to_json())
    networks = [
        nlp.get_pipe("language_identifier").model.get_ref("sent2vec").shims[0].network,
        nlp.get_pipe("ner_all").model.get_ref("tok2vec").shims[0].network,
    ]

    def weight(network):
        return network.encoder.embeddings.word_embeddings.weight

    assert weight(networks[0]).data_ptr() == weight(networks[1]).data_ptr()
    tops = [network.encoder.encoder.layer[1].output.dense.weight for network in networks]
    assert tops[0].data_ptr() != tops[1].data_ptr()
    runs = []
    for network in networks:
        network.encoder.encoder.layer[0].register_forward_hook(lambda *args: runs.append(1))
    texts = [*TEXTS, TEXTS[0]]
    docs = list(nlp.pipe(texts))
    # Each of the five different texts is in one batch of the identifier, and recalled by the tagger.
    assert len(runs) == 1
    for doc, text in zip(docs, texts, strict=True):
        assert entities(doc) == entities(tagger(text))
    before = weight(networks[1]).clone()
    networks[0].set_frozen(-1)
    with torch.no_grad():
        weight(networks[0]).add_(1)
    assert torch.equal(weight(networks[1]), before)


def test_a_nan_loss_is_an_error_that_changes_no_weight(checkpoint):
    nlp = tiny.make_identifier(checkpoint)
    examples = tiny.make_examples(nlp, known_language=False)
    optimizer = nlp.initialize(lambda: examples)
    model = nlp.get_pipe("language_identifier").model
    output = model.get_ref("output")
    output.set_param("b", output.get_param("b") * numpy.nan)
    before = model.get_ref("sent2vec").to_bytes()
    with pytest.raises(ValueError, match="XNER303"):
        nlp.update(examples, sgd=optimizer)
    assert model.get_ref("sent2vec").to_bytes() == before


def test_docs_can_carry_what_components_leave():
    doc = Doc(spacy.blank("xx").vocab, words=["a"])
    for name in ("language", "language_scores", "cluster", "cluster_score"):
        assert Doc.has_extension(name)
        assert doc._.get(name) is None
