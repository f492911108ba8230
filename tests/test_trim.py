"""A trimmed pipeline finds what the whole one finds in the texts, and says where it knows nothing."""

import json
import shutil
import warnings

import numpy
import pytest
import spacy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from spacy_xner.cli import xner
from spacy_xner.deploy.trim import known_languages, read_texts, transformer_shims, trim, trim_folder
from spacy_xner.deploy.vocabulary import (
    choose_ids,
    cut_tokenizer,
    read_vocabulary,
    read_words,
    without_letters,
)
from spacy_xner.errors import XnerError
from spacy_xner.types import SHARED_FOLDER as FOLDER

from tests import tiny
from tests.cli import invoke

LETTERS = "aábcdeеёжия東京"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.make_checkpoint(tmp_path_factory.mktemp("trim") / "checkpoint")


@pytest.fixture(scope="module")
def whole(checkpoint, tmp_path_factory):
    """The folder of a routed pipeline."""
    folder = tmp_path_factory.mktemp("trim") / "routed"
    tiny.make_routed(checkpoint).to_disk(folder)
    return folder


def found(nlp, texts=tuple(tiny.TEXTS)):
    return [(d._.language, [(span.text, span.label_) for span in d.ents]) for d in nlp.pipe(texts)]


def states(shim, texts):
    """Pieces and hidden states of texts."""
    network = shim.network
    pieces = network.split(texts)
    rows = []
    for text, (ids, _, _) in zip(texts, pieces, strict=True):
        window = torch.tensor([[network._first_id, *ids.tolist(), network._last_id]])
        with torch.inference_mode():
            hidden = network.encode_windows(window, torch.ones_like(window))
        rows.append((text, [network.tokenizer.id_to_token(i) for i in ids], hidden[0]))
    return rows


def make_wordpiece(folder):
    """Write a two-layer BERT whose special tokens stand in the middle of a vocabulary of wordpieces."""
    torch.manual_seed(0)
    letters = sorted({c for text in tiny.TEXTS for c in text if c != " "})
    pieces = ["[PAD]", "zzz", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##qq", "Tokyo"]
    pieces += [*letters, *("##" + letter for letter in letters), "##ri", "Mar", "##ia", "Lis", "##bon"]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    names = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    settings = {f"{kind}_token": token for kind, token in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(pieces) + 3, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=128, pad_token_id=0,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
@pytest.mark.parametrize("keep", ["words", "scripts", "all"])
def test_texts_are_read_as_before(checkpoint, tmp_path, kind, keep):
    name = checkpoint if kind == "unigram" else make_wordpiece(tmp_path / "bert")
    nlp = tiny.make_nlp(name, n_frozen_layers=1)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    (shim,) = transformer_shims(nlp)
    texts = [*tiny.TEXTS[1:3], "in Tokyo \u00e9"]
    before = states(shim, texts)
    sizes = trim(nlp, texts, keep=keep, storage="float32")
    # The one has a wordpiece in no word of the texts, the other three rows without a wordpiece.
    assert (sizes.n_after < sizes.n_before) == (keep == "words" or kind == "wordpiece")
    assert shim.network.encoder.get_input_embeddings().weight.shape[0] == sizes.n_after
    for (text, pieces, hidden), (_, pieces_after, hidden_after) in zip(
        before, states(shim, texts), strict=True
    ):
        assert pieces_after == pieces, text
        assert torch.equal(hidden_after, hidden), text


def test_all_components_of_a_routed_pipeline_are_cut_alike(whole, tmp_path):
    before = found(spacy.load(whole))
    sizes = trim_folder(whole, tmp_path / "small", tiny.TEXTS, keep="words")
    nlp = spacy.load(tmp_path / "small")
    assert found(nlp) == before
    rows = {shim.network.encoder.get_input_embeddings().weight.shape[0] for shim in transformer_shims(nlp)}
    assert rows == {sizes.n_after}
    assert len({shim.network.tokenizer.to_str() for shim in transformer_shims(nlp)}) == 1
    assert sizes.n_bytes < sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    assert len(list((tmp_path / "small" / FOLDER).iterdir())) == 3


def test_half_precision_stays_when_the_pipeline_is_saved_again(whole, tmp_path):
    trim_folder(whole, tmp_path / "small", tiny.TEXTS)
    nlp = spacy.load(tmp_path / "small")
    assert {shim.storage for shim in transformer_shims(nlp)} == {"float16"}
    assert {p.dtype for shim in transformer_shims(nlp) for p in shim.network.parameters()} == {torch.float32}
    nlp.to_disk(tmp_path / "again")
    sizes = [
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in (tmp_path / "small", tmp_path / "again", whole)
    ]
    assert sizes[0] == sizes[1] < sizes[2]
    assert found(nlp) == found(spacy.load(whole))


def test_training_goes_on_with_a_trimmed_pipeline(whole, tmp_path):
    trim_folder(whole, tmp_path / "small", tiny.TEXTS, keep="words")
    nlp = spacy.load(tmp_path / "small", exclude=["language_identifier", "cluster_router", "ner_asian"])
    before = found(nlp)
    optimizer = nlp.resume_training()
    nlp.update(tiny.make_examples(nlp)[:2], sgd=optimizer)
    nlp.to_disk(tmp_path / "trained")
    assert len(found(spacy.load(tmp_path / "trained"))) == len(before)


def test_other_scripts_fall_to_single_characters_or_unknown_pieces_and_are_counted(whole, tmp_path):
    trim_folder(whole, tmp_path / "small", tiny.TEXTS[:2], keep="words", languages=["en"])
    nlp = spacy.load(tmp_path / "small")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        thai, again, english = nlp.pipe(["กรุงเทพมหานคร สวยงาม", "กรุงเทพ", tiny.TEXTS[1]])
    assert thai._.unknown_pieces > 0
    assert again._.unknown_pieces > 0
    assert english._.unknown_pieces == 0
    # Every network says it once.
    said = [str(w.message) for w in heard if "XNER-W141" in str(w.message)]
    assert 1 <= len(said) <= 3
    assert not any("กรุงเทพ" in text for text in said)
    # Single characters stay whatever the texts are.
    assert [p for p in states(transformer_shims(nlp)[0], ["东京"])[0][1] if p != "▁"] == ["东", "京"]


def test_languages_that_the_texts_leave_out_are_warned_of(whole):
    nlp = spacy.load(whole)
    assert known_languages(nlp) == ["en", "ru", "zh"]
    with pytest.warns(UserWarning, match=r"XNER-W140.* ru, zh:"):
        trim(nlp, tiny.TEXTS[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trim(spacy.load(whole), tiny.TEXTS)
        trim(spacy.load(whole), tiny.TEXTS[:2], languages=["en", "de-AT"])


@pytest.mark.parametrize(
    ("code", "settings"), [("XNER143", {"storage": "int3"}), ("XNER145", {"texts": ["", " \n"]})]
)
def test_what_cannot_be_is_refused(whole, code, settings):
    with pytest.raises(XnerError, match=rf"^\[{code}\]"):
        trim(spacy.load(whole), **{"texts": ["a"], **settings})


def test_pipelines_without_transformers_and_other_vocabularies_are_refused():
    with pytest.raises(XnerError, match=r"^\[XNER146\].*none"):
        trim(spacy.blank("xx"), ["a"])
    with pytest.raises(XnerError, match=r"^\[XNER144\].*BPE"):
        read_vocabulary(Tokenizer(models.BPE()).to_str())


def test_weights_that_half_precision_cannot_hold_are_refused(checkpoint):
    nlp = tiny.make_nlp(checkpoint)
    nlp.initialize(lambda: tiny.make_examples(nlp))
    with torch.no_grad():
        transformer_shims(nlp)[0].network.encoder.encoder.layer[0].output.dense.weight[0, 0] = 1e6
    with pytest.raises(XnerError, match=r"^\[XNER140\].*layer.0.output.dense.weight.*1e\+06"):
        trim(nlp, tiny.TEXTS)
    trim(nlp, tiny.TEXTS, storage="float32")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_vocabulary_cuts_the_texts_into_the_same_pieces(data):
    pieces = data.draw(st.lists(st.text(LETTERS + "▁", min_size=1, max_size=4), unique=True, max_size=40))
    texts = data.draw(st.lists(st.text(LETTERS + " x.", min_size=1, max_size=12), min_size=1, max_size=5))
    pieces = ["<unk>", *(piece for piece in pieces if piece != "<unk>")]
    kind = data.draw(st.sampled_from(["Unigram", "WordPiece"]))
    if kind == "Unigram":
        scores = data.draw(
            st.lists(st.integers(-9, -1).map(float), min_size=len(pieces), max_size=len(pieces))
        )
        tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=0))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        pieces += [f"##{piece}" for piece in pieces[1:] if data.draw(st.booleans())]
        tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    stored = tokenizer.to_str()
    ids = choose_ids(read_vocabulary(stored), read_words(tokenizer, texts), "words")
    small = Tokenizer.from_str(cut_tokenizer(stored, ids))
    for text in texts:
        one, other = tokenizer.encode(text), small.encode(text)
        assert one.tokens == other.tokens
        assert one.offsets == other.offsets
        assert [ids[i] for i in other.ids] == one.ids


def test_pieces_in_the_letters_of_the_texts_and_a_to_z_stay_and_traces_bring_no_script():
    pieces = ["<unk>", "Toll", "łódź", "αβγ", "aα", "東京", "東へ", "ひと", "12", "a", "ł", "Ю"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    vocabulary = read_vocabulary(tokenizer.to_str())

    def kept(*texts):
        words = read_words(tokenizer, texts)
        return [pieces[i] for i in choose_ids(vocabulary, words, "scripts")], words

    always = ["12", "a", "ł", "Ю"]
    latin, words = kept("the lot " * 1000, "α東")
    assert words.scripts == {"LATIN"}
    assert latin == ["<unk>", "Toll", "aα", *always]
    assert kept("ł", "大阪" * 9)[0] == ["<unk>", "Toll", "東京", *always]
    assert without_letters(["de", "el", "ja", "zh_hant", "sr"], words) == ["el", "ja", "zh_hant", "sr"]


def test_texts_are_read_from_corpora_and_files(tmp_path):
    corpus = tiny.write_tagged(tmp_path / "tagged")
    invoke(xner, "convert", "tagged", str(corpus), str(tmp_path / "corpus"), "--source", "tiny")
    (tmp_path / "more.txt").write_text("one\ntwo\n", encoding="utf-8")
    chinese = list(read_texts([tmp_path / "corpus"], ["zh"], ["train"]))
    assert chinese == ["联合国在东京开会"]
    file = next((tmp_path / "corpus").glob("ru-*-test.spacy"))
    assert list(read_texts([file, tmp_path / "more.txt"])) == ["Ана уехала в Москву", "one", "two"]


def test_the_verb_trims_each_pipeline_for_its_languages(checkpoint, tmp_path):
    (tmp_path / "clusters").mkdir()
    for name in ("asian", "european"):
        nlp = tiny.make_nlp(checkpoint)
        nlp.initialize(lambda nlp=nlp: tiny.make_examples(nlp))
        nlp.to_disk(tmp_path / "clusters" / name)
    (tmp_path / "two.json").write_text(json.dumps(tiny.GROUPING), encoding="utf-8")
    (tmp_path / "text.txt").write_text("\n".join(tiny.TEXTS), encoding="utf-8")
    arguments = ["trim", str(tmp_path / "clusters"), str(tmp_path / "small"), "--each"]
    arguments += ["--texts", str(tmp_path / "text.txt"), "--grouping", str(tmp_path / "two.json")]
    out = invoke(xner, *arguments, "--keep", "false", "--storage", "float32")
    assert "european" in out
    one = transformer_shims(spacy.load(tmp_path / "small" / "asian"))[0].network
    other = transformer_shims(spacy.load(tmp_path / "clusters" / "asian"))[0].network
    for name, tensor in one.state_dict().items():
        assert numpy.array_equal(tensor.numpy(), other.state_dict()[name].numpy()), name
    shutil.rmtree(tmp_path / "small")
    assert "expected scripts" in invoke(xner, *arguments, "--keep", "some", code=2)
