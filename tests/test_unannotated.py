"""Types that a corpus does not annotate: losses against sums over all sequences, learning, scores."""

import itertools
import math

import numpy
import pytest
import spacy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.training import Example

from spacy_xner.attributes import register_attributes, unannotated_labels
from spacy_xner.corpus.docs import read_docs, write_docs
from spacy_xner.corpus.reader import create_multilingual_corpus
from spacy_xner.errors import XnerError
from spacy_xner.evaluation import show_examples
from spacy_xner.scoring import count_by_sentence, score_entities
from spacy_xner.tagger.crf import LinearChainCRF
from spacy_xner.tagger.gold import align_gold
from spacy_xner.tagger.losses import create_cross_entropy, create_focal, create_reweighted, join_tags
from spacy_xner.tags import TagSet, tags_to_spans

from tests import tiny

register_attributes()
VOCAB = spacy.blank("xx").vocab
LABELS = ("PER", "ORG")
LOSSES = {
    "cross entropy": (create_cross_entropy(), lambda p: -math.log(p)),
    "focal": (create_focal(2.0), lambda p: -((1 - p) ** 2) * math.log(p)),
    "reweighted": (create_reweighted(4.0), lambda p: -((1 + p) ** 4) * math.log(p)),
}


def open_tags_of(tag_set, gold, labels=("ORG",)):
    """The tags that `head_loss` opens for the heads: those of the labels where the gold tag is O."""
    return torch.from_numpy(tag_set.tags_of(labels))[None] & (gold == 0)[:, None]


def allowed_sets(tag_set, gold, labels):
    """The tags that each token may have."""
    further = [i for i, tag in enumerate(tag_set.tags) if tag[2:] in labels]
    every = set(range(len(tag_set)))
    return [every if tag < 0 else {tag, *further} if tag == 0 else {tag} for tag in gold.tolist()]


def crf_by_enumeration(crf, emissions, allowed):
    """Log of the share that the allowed sequences have of the weight of all sequences of a document."""
    transitions, starts, ends = crf.scores()

    def score(path):
        steps = sum(transitions[a, b] for a, b in itertools.pairwise(path))
        return starts[path[0]] + ends[path[-1]] + steps + sum(emissions[i, tag] for i, tag in enumerate(path))

    paths = list(itertools.product(range(emissions.shape[1]), repeat=len(emissions)))
    scores = torch.stack([score(path) for path in paths])
    fits = [all(tag in tags for tag, tags in zip(path, allowed, strict=True)) for path in paths]
    return scores[torch.tensor(fits)].logsumexp(0) - scores.logsumexp(0)


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES"])
@pytest.mark.parametrize("scale", [1, 1000])
def test_the_crf_sums_over_all_sequences_that_the_annotation_allows(scheme, scale):
    tag_set = TagSet(LABELS, scheme)
    crf = LinearChainCRF(torch.from_numpy(tag_set.allowed)).double()
    torch.nn.init.normal_(crf.transitions)
    lengths = [3, 1, 4]
    per = tag_set.encode(tags_to_spans(["B-PER"]), 1)[0]
    gold = torch.tensor([0, per, 0, 0, per, 0, -1, 0])
    emissions = (scale * torch.randn(len(gold), len(tag_set), dtype=torch.double)).requires_grad_()
    value = crf.log_likelihood(emissions, gold, torch.tensor(lengths), open_tags_of(tag_set, gold))
    sets = allowed_sets(tag_set, gold, ("ORG",))
    starts = numpy.cumsum([0, *lengths])
    expected = torch.stack(
        [crf_by_enumeration(crf, emissions[a:b], sets[a:b]) for a, b in itertools.pairwise(starts.tolist())]
    ).sum()
    results = [(v, *torch.autograd.grad(v, (emissions, crf.transitions))) for v in (value, expected)]
    for computed, wanted in zip(*results, strict=True):
        torch.testing.assert_close(computed, wanted, rtol=1e-9, atol=1e-9)
    # More is allowed than O alone.
    assert value > crf.log_likelihood(emissions, gold, torch.tensor(lengths))


def test_the_crfs_gradient_equals_differences():
    tag_set = TagSet(LABELS, "IOB2")
    crf = LinearChainCRF(torch.from_numpy(tag_set.allowed)).double()
    gold = torch.tensor([0, 1, 2, 0, 0])
    emissions = torch.randn(5, len(tag_set), dtype=torch.double, requires_grad=True)

    def likelihood(emissions, transitions):
        # `transitions` is the parameter itself, moved in place.
        return crf.log_likelihood(emissions, gold, torch.tensor([2, 3]), open_tags_of(tag_set, gold))

    assert torch.autograd.gradcheck(likelihood, (emissions, crf.transitions))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.sets(st.sampled_from(LABELS)))
def test_the_softmax_sums_the_probabilities_of_what_is_allowed(name, weighted, seed, labels):
    loss, formula = LOSSES[name]
    tag_set = TagSet(LABELS, "IOB2")
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(6, len(tag_set), generator=generator, dtype=torch.double)
    weights = torch.rand(len(tag_set), generator=generator, dtype=torch.double) if weighted else None
    # An entity of the labels would be a contradiction.
    gold = torch.tensor([0, 0, -1, 0, 0, -1])
    joined = join_tags(logits, gold, open_tags_of(tag_set, gold, labels))
    sets, share = allowed_sets(tag_set, gold, labels), logits.softmax(1)
    of_tag = [1.0] * len(tag_set) if weights is None else weights.tolist()
    rows = [
        (of_tag[tag], formula(sum(float(share[i, t]) for t in sets[i])))
        for i, tag in enumerate(gold.tolist())
        if tag >= 0
    ]
    expected = sum(w * v for w, v in rows) / sum(w for w, _ in rows)
    assert float(loss(joined, gold, weights)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["cross entropy", "focal"])
def test_the_softmaxs_gradient_equals_differences(name):
    tag_set = TagSet(LABELS, "IOB2")
    gold = torch.tensor([0, 1, 0, -1])
    logits = torch.randn(4, len(tag_set), dtype=torch.double, requires_grad=True)
    loss = LOSSES[name][0]
    assert torch.autograd.gradcheck(
        lambda x: loss(join_tags(x, gold, open_tags_of(tag_set, gold)), gold, None), (logits,)
    )


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.5, 1.0, 2.0]])
def test_smoothing_is_torchs_own_and_leaves_joined_tags_out(weights):
    tag_set = TagSet(LABELS, "IOB2")
    gold = torch.tensor([0, 1, -1, 3])
    logits = torch.randn(4, len(tag_set))
    of_tag = None if weights is None else torch.tensor(weights)
    loss = create_cross_entropy(label_smoothing=0.2)
    n = 3.0 if of_tag is None else float(of_tag[gold[gold >= 0]].sum())
    settings = {"weight": of_tag, "ignore_index": -1, "label_smoothing": 0.2, "reduction": "sum"}
    wanted = torch.nn.functional.cross_entropy(logits, gold, **settings) / n
    torch.testing.assert_close(loss(logits, gold, of_tag), wanted)
    # Three tags are left of a token whose ORG tags were joined with O.
    open_tags = open_tags_of(tag_set, gold[:1])
    p = logits[0].softmax(0)
    right, others = torch.log(p[0] + p[3] + p[4]), torch.log(p[1:3])
    of_tag = torch.ones(5) if of_tag is None else of_tag
    even = (of_tag[0] * right + (of_tag[1:3] * others).sum()) / 3
    joined = join_tags(logits[:1], gold[:1], open_tags)
    wanted = -(0.8 * of_tag[0] * right + 0.2 * even) / of_tag[0]
    torch.testing.assert_close(loss(joined, gold[:1], None if weights is None else of_tag), wanted)


def labelled(tags, unannotated=()):
    doc = Doc(VOCAB, words=["w"] * len(tags), ents=tags)
    doc._.unannotated = list(unannotated)
    return doc


def test_gold_tags_say_what_is_open():
    tag_set = TagSet(LABELS, "IOB2")
    example = Example(labelled(["O", "O"]), labelled(["B-PER", "O"], ["ORG", "DATE"]))
    gold = align_gold(example, tag_set)
    assert gold.ids.tolist() == [1, 0]
    assert [tag for tag, is_open in zip(tag_set.tags, gold.open_tags, strict=True) if is_open] == [
        "B-ORG",
        "I-ORG",
    ]
    assert not align_gold(Example(labelled(["O"]), labelled(["B-PER"])), tag_set).open_tags.any()
    assert not align_gold(Example(labelled(["O"]), Doc(VOCAB, words=["w"])), tag_set).open_tags.any()


def test_what_is_found_of_a_type_that_nobody_looked_for_is_not_wrong():
    predicted = labelled(["B-PER", "O", "B-ORG", "B-LOC"])
    example = Example(predicted, labelled(["B-PER", "O", "O", "O"], ["ORG"]))
    scores = score_entities([example])
    assert (scores["ents_p"], scores["ents_r"]) == (0.5, 1.0)
    assert "ORG" not in scores["ents_per_type"]
    assert count_by_sentence([example]) == {None: [(1, 2, 1)]}
    with_all = Example(predicted, labelled(["B-PER", "O", "O", "O"]))
    assert score_entities([with_all])["ents_p"] == pytest.approx(1 / 3)
    right = Example(labelled(["B-PER", "B-ORG"]), labelled(["B-PER", "O"], ["ORG"]))
    assert show_examples([right], 1)[0]["right"] is True


@pytest.fixture
def two_corpora(tmp_path):
    """A folder with a corpus of all types, and one of others than ORG."""
    for name, missing in (("whole", ()), ("names", ("ORG",))):
        nlp, docs = tiny.blank(), []
        for text, entities, language in tiny.SENTENCES:
            doc = nlp.make_doc(text)
            doc.ents = [doc.char_span(a, b, label) for a, b, label in entities if label not in missing]
            doc._.language = language
            docs.append(doc)
        write_docs(docs, tmp_path / f"xx-{name}-train.spacy")
    return tmp_path


def test_the_reader_says_what_a_corpus_does_not_annotate(two_corpora, tmp_path):
    nlp = tiny.blank()
    reader = create_multilingual_corpus(two_corpora, unannotated={"names": ["ORG"]})
    marks = {(eg.reference._.corpus, unannotated_labels(eg.reference)) for eg in reader(nlp)}
    assert marks == {("whole", frozenset()), ("names", frozenset({"ORG"}))}
    # The marks are stored with a document, and stay without the setting.
    docs = [eg.reference for eg in reader(nlp)]
    write_docs(docs, tmp_path / "stored" / "xx-mixed-train.spacy")
    stored = list(read_docs(tmp_path / "stored" / "xx-mixed-train.spacy").get_docs(nlp.vocab))
    assert [unannotated_labels(doc) for doc in stored] == [unannotated_labels(doc) for doc in docs]
    again = create_multilingual_corpus(tmp_path / "stored")
    assert any(unannotated_labels(eg.reference) for eg in again(nlp))


def test_wrong_settings_of_the_reader_are_coded_errors(two_corpora):
    with pytest.raises(XnerError, match=r"XNER147.*nams"):
        create_multilingual_corpus(two_corpora, unannotated={"nams": ["ORG"]})
    reader = create_multilingual_corpus(two_corpora, unannotated={"whole": ["ORG"]})
    with pytest.raises(XnerError, match="XNER148"):
        list(reader(tiny.blank()))


BILSTM = {"@architectures": "spacy_xner.BiLSTMEncoder.v1", **tiny.SMALL_BILSTM, "use_vectors": False}
HEADS = {
    "softmax": ("transformer_ner", {}),
    "crf": ("transformer_ner", {"model": {"head": tiny.CRF_HEAD}}),
    "crf-bioes": ("transformer_ner", {"model": {"head": tiny.CRF_HEAD}, "scheme": "BIOES"}),
    "bilstm": ("bilstm_crf_ner", {"model": {"tok2vec": BILSTM}}),
}


def make_tagger(name, checkpoint):
    factory, config = HEADS[name]
    if factory == "transformer_ner":
        return tiny.make_nlp(checkpoint, config)
    nlp = tiny.blank()
    nlp.add_pipe(factory, name="ner", config=config)
    return nlp


def learn(nlp, examples, is_learnt, limit=1500):
    """Train until all is learnt. RETURNS: Whether that came before the limit."""
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for step in range(limit):
        nlp.update(examples, sgd=optimizer, drop=0.0)
        if step % 10 == 9 and is_learnt():
            return True
    return False


@pytest.mark.parametrize("name", HEADS)
def test_a_type_is_learnt_from_one_corpus_and_not_unlearnt_from_another(name, checkpoint, two_corpora):
    nlp = make_tagger(name, checkpoint)
    examples = list(create_multilingual_corpus(two_corpora, unannotated={"names": ["ORG"]})(nlp))
    groups = {name: [eg for eg in examples if eg.reference._.corpus == name] for name in ("whole", "names")}
    pipe = nlp.get_pipe("ner")

    def loss():
        emissions = pipe.model.predict([eg.predicted for eg in groups["names"]])
        return pipe.get_loss(groups["names"], emissions)[0]

    def is_learnt():
        golds = [eg.reference for eg in groups["whole"]]
        docs = nlp.pipe([doc.text for doc in golds])
        return loss() < 0.05 and all(places(a) == places(b) for a, b in zip(docs, golds, strict=True))

    # The same sentences stand in both corpora: what one says of ORG, the other says nothing against.
    assert learn(nlp, examples, is_learnt)
    marked = loss()
    for example in groups["names"]:
        example.reference._.unannotated = None
    assert loss() > 5 * marked


def places(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
