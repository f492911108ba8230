"""Consistency of two readings: segmentations that are drawn, the divergence, and both objectives."""

import itertools
import json
import math
from collections import Counter

import numpy
import pytest
import torch
from thinc.api import fix_random_seed
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from spacy_xner.errors import XnerError
from spacy_xner.objectives.consistency import create_r_drop, symmetric_divergence
from spacy_xner.transformer.sampling import Sampler
from spacy_xner.transformer.wordpieces import split_texts

from tests import tiny

PIECES = [
    ("<unk>", 0.0), ("\u2581", -2.0), ("a", -1.0), ("b", -1.5), ("c", -2.0), ("ab", -1.2), ("bc", -2.5),
    ("\u2581a", -0.7), ("\u2581ab", -1.1), ("abc", -3.0),
]  # fmt: skip


def stored(pieces=PIECES):
    return json.dumps({"model": {"type": "Unigram", "unk_id": 0, "vocab": pieces}})


def all_cuts(word, scores):
    """Every segmentation and its score, by trying all of them."""
    for n in range(len(word)):
        for inner in itertools.combinations(range(1, len(word)), n):
            ends = [*inner, len(word)]
            parts = [word[i:j] for i, j in zip([0, *inner], ends, strict=True)]
            if all(part in scores for part in parts):
                yield tuple(parts), sum(scores[part] for part in parts)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_segmentations_are_drawn_by_their_probabilities(alpha):
    word, n = "\u2581abc", 4000
    sampler = Sampler(stored(), 1.0, alpha)
    chances = {parts: math.exp(alpha * score) for parts, score in all_cuts(word, dict(PIECES[1:]))}
    total = sum(chances.values())
    drawn = Counter(
        tuple(word[i:j] for i, j in itertools.pairwise([0, *sampler._draw(word)])) for _ in range(n)
    )
    assert set(drawn) == set(chances)
    assert len(chances) == 7
    for parts, chance in chances.items():
        expected = n * chance / total
        assert abs(drawn[parts] - expected) < 5 * math.sqrt(expected), parts


def tokenizer_of(checkpoint) -> Tokenizer:
    return AutoTokenizer.from_pretrained(checkpoint).backend_tokenizer


def rich(checkpoint):
    """The tiny tokenizer with some longer pieces, so that words can be cut in several ways."""
    content = json.loads(tokenizer_of(checkpoint).to_str())
    more = [
        "\u2581Mar",
        "ia",
        "Santos",
        "\u2581San",
        "\u2581Lis",
        "bon",
        "\u2581Моск",
        "ва",
        "联合",
        "东京",
        "won",
    ]
    content["model"]["vocab"] += [[piece, -1.0] for piece in more]
    return json.dumps(content)


def test_texts_and_offsets_stay_whatever_is_drawn(checkpoint):
    text = rich(checkpoint)
    tokenizer, sampler = Tokenizer.from_str(text), Sampler(text, 1.0, 0.0)
    pieces = split_texts(tokenizer, tiny.TEXTS)
    changed = 0
    for before, content in zip(pieces, tiny.TEXTS, strict=True):
        after = sampler(before)
        spell = ["".join(tokenizer.id_to_token(i) for i in part.ids.tolist()) for part in (before, after)]
        assert spell[0] == spell[1]
        changed += before.ids.tolist() != after.ids.tolist()
        for id_, start, end in zip(*after, strict=True):
            assert tokenizer.id_to_token(int(id_)).lstrip("\u2581").strip() == content[start:end].strip()
        assert list(after.starts) == sorted(after.starts)
        assert (after.starts[0], after.ends[-1]) == (before.starts[0], before.ends[-1])
    assert changed >= 3


def test_no_word_is_cut_anew_for_a_ratio_of_nothing_and_unknown_ones_never(checkpoint):
    text = rich(checkpoint)
    [pieces] = split_texts(Tokenizer.from_str(text), ["Maria Ж won"])
    same = Sampler(text, 1e-9, 0.0)(pieces)
    assert all(numpy.array_equal(a, b) for a, b in zip(pieces, same, strict=True))
    unknown = json.loads(text)["model"]["unk_id"]
    [place] = numpy.flatnonzero(pieces.ids == unknown)
    after = Sampler(text, 1.0, 0.0)(pieces)
    [new] = numpy.flatnonzero(after.ids == unknown)
    assert (pieces.starts[place], pieces.ends[place]) == (after.starts[new], after.ends[new])


def test_other_vocabularies_are_a_coded_error():
    with pytest.raises(XnerError, match="XNER656"):
        Sampler(json.dumps({"model": {"type": "WordPiece", "vocab": {}}}), 0.3, 0.3)


@pytest.mark.parametrize("detached", [False, True])
def test_the_divergence_is_symmetric_and_its_gradient_right(trained, detached):
    model = trained.get_pipe("ner").model
    generator = numpy.random.default_rng(0)
    shape = (4, 7)
    a, b = (generator.normal(size=shape).astype("float32") for _ in range(2))
    loss, (d_a, d_b) = symmetric_divergence(model, [a[:1], a[1:]], [b[:1], b[1:]], detached=detached)
    p, q = (torch.softmax(torch.from_numpy(x).double(), 1) for x in (a, b))
    expected = ((p - q) * (p.log() - q.log())).sum() / 2 / len(a)
    assert loss == pytest.approx(float(expected), rel=1e-6)
    swapped, (e_b, e_a) = symmetric_divergence(model, [b], [a], detached=detached)
    assert swapped == pytest.approx(loss)
    assert numpy.concatenate(d_a) == pytest.approx(e_a[0], abs=1e-7)
    assert numpy.concatenate(d_b) == pytest.approx(e_b[0], abs=1e-7)
    if detached:
        assert e_b[0] == pytest.approx(((q - p) / 2 / len(a)).numpy(), abs=1e-7)
    else:
        step = numpy.zeros(shape, dtype="float32")
        step[2, 3] = 1e-2
        up, down = (symmetric_divergence(model, [x], [b], detached=False)[0] for x in (a + step, a - step))
        assert d_a[1][1, 3] == pytest.approx((up - down) / 2e-2, rel=1e-2)
    assert symmetric_divergence(model, [a], [a], detached=detached)[0] == pytest.approx(0.0, abs=1e-9)


def make_nlp(checkpoint, objective, **tok2vec):
    nlp = tiny.make_nlp(checkpoint, {"objectives": {"same": objective}}, **tok2vec)
    examples = [*tiny.make_examples(nlp), *tiny.make_unlabelled(nlp, tiny.TEXTS)]
    fix_random_seed(0)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    return nlp, optimizer, examples


def losses_of(nlp, optimizer, examples, n, drop):
    return [nlp.update(examples, sgd=optimizer, losses={}, drop=drop)["ner_same"] for _ in range(n)]


def without_dropout(nlp):
    network = nlp.get_pipe("ner").model.get_ref("tok2vec").shims[0].network
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


def test_readings_with_dropout_disagree_and_the_tagger_learns_from_it(checkpoint):
    nlp, optimizer, examples = make_nlp(checkpoint, {"@misc": "spacy_xner.r_drop.v1", "weight": 2.0})
    unlabelled = examples[len(tiny.TEXTS) :]
    network = without_dropout(nlp)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    fix_random_seed(0)
    [loss] = losses_of(nlp, optimizer, unlabelled, 1, 0.3)
    assert loss > 0
    assert all(not torch.equal(before[n], p) for n, p in network.named_parameters() if "layer.1" in n)
    twin, its_optimizer, _ = make_nlp(checkpoint, {"@misc": "spacy_xner.r_drop.v1", "weight": 1.0})
    without_dropout(twin)
    fix_random_seed(0)
    assert losses_of(twin, its_optimizer, unlabelled, 1, 0.3) == [pytest.approx(loss / 2, rel=1e-3)]
    assert losses_of(nlp, optimizer, unlabelled, 1, 0.0) == [pytest.approx(0.0, abs=1e-5)]


def test_labelled_text_is_read_only_if_asked_for(checkpoint):
    for labelled in (True, False):
        objective = {"@misc": "spacy_xner.r_drop.v1", "labelled": labelled}
        nlp, optimizer, examples = make_nlp(checkpoint, objective)
        [loss] = losses_of(nlp, optimizer, examples[: len(tiny.TEXTS)], 1, 0.3)
        assert (loss > 0) == labelled


@pytest.mark.parametrize("ratio", [1.0, 1e-9])
def test_other_segmentations_disagree_and_nothing_else_reads_them(ratio, checkpoint, tmp_path):
    content = rich(checkpoint)
    folder = tiny.make_checkpoint(tmp_path / "rich")
    (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    grow(folder, len(json.loads(content)["model"]["vocab"]))
    objective = {"@misc": "spacy_xner.subword_consistency.v1", "ratio": ratio, "alpha": 0.0}
    nlp, optimizer, examples = make_nlp(folder, objective)
    network = without_dropout(nlp)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    [loss] = losses_of(nlp, optimizer, examples[len(tiny.TEXTS) :], 1, 0.0)
    assert (loss > 1e-4) == (ratio == 1)
    moved = [not torch.equal(before[n], p) for n, p in network.named_parameters() if "layer.1" in n]
    assert all(moved) or ratio < 1
    assert network._sampler is None


def grow(folder, n_pieces):
    """Give a checkpoint embeddings for more pieces."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    torch.manual_seed(0)
    model.resize_token_embeddings(n_pieces, mean_resizing=False)
    model.save_pretrained(folder)


def test_encoders_without_wordpieces_are_refused():
    nlp = tiny.make_bilstm((), {"objectives": {"same": {"@misc": "spacy_xner.subword_consistency.v1"}}})
    with pytest.raises(XnerError, match="XNER308"):
        nlp.initialize(lambda: tiny.make_examples(nlp))
    assert create_r_drop().weight == 0.5
