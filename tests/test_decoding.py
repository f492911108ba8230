"""A softmax head that keeps the scheme: the likeliest allowed tags, against all sequences."""

import itertools

import pytest
import spacy
import torch

from spacy_xner.tagger.losses import create_cross_entropy
from spacy_xner.tagger.model import head_network
from spacy_xner.tagger.network import SoftmaxHead
from spacy_xner.tags import TagSet, TokenSpan

from tests import tiny

LENGTHS = [3, 0, 1, 4, 2]
SCHEMES = ["IOB1", "IOB2", "BIOES"]


def make_head(tag_set, decode):
    return SoftmaxHead(4, tag_set, create_cross_entropy(), {}, decode)


def is_allowed(tag_set, path):
    edge = len(tag_set)
    return all(tag_set.allowed[a, b] for a, b in itertools.pairwise([edge, *path, edge]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_likeliest_allowed_tags_are_found(scheme, seed):
    tag_set = TagSet(("PER", "LOC"), scheme)
    torch.manual_seed(seed)
    emissions = 4 * torch.randn(sum(LENGTHS), len(tag_set))
    tags = make_head(tag_set, "viterbi").best_tags(emissions, torch.tensor(LENGTHS))
    log_p = emissions.log_softmax(1)
    for rows, chosen in zip(log_p.split(LENGTHS), tags.split(LENGTHS), strict=True):
        paths = itertools.product(range(len(tag_set)), repeat=len(rows))
        allowed = [path for path in paths if is_allowed(tag_set, path)]
        best = max(allowed, key=lambda path: sum(rows[i, tag].item() for i, tag in enumerate(path)))
        assert tuple(chosen.tolist()) == best


@pytest.mark.parametrize("scheme", SCHEMES)
def test_allowed_tags_are_those_of_every_token_alone(scheme):
    tag_set = TagSet(("PER",), scheme)
    ids = torch.from_numpy(
        tag_set.encode([TokenSpan(0, 2, "PER"), TokenSpan(2, 3, "PER"), TokenSpan(5, 6, "PER")], 7)
    )
    emissions = 5.0 * torch.nn.functional.one_hot(ids, len(tag_set))
    lengths = torch.tensor([7])
    both = [make_head(tag_set, decode).best_tags(emissions, lengths) for decode in ("argmax", "viterbi")]
    assert both[0].tolist() == both[1].tolist() == ids.tolist()


def test_scores_of_any_size_do_not_break_the_scheme():
    tag_set = TagSet(("PER",), "IOB2")
    # An I after nothing, by a score that is more than what forbids it.
    emissions = torch.tensor([[1e5, 1e5 - 3, 1e5 + 9]])
    lengths = torch.tensor([1])
    assert make_head(tag_set, "argmax").best_tags(emissions, lengths).tolist() == [2]
    assert make_head(tag_set, "viterbi").best_tags(emissions, lengths).tolist() == [0]


def test_a_document_without_tokens_has_no_tags():
    head = make_head(TagSet(("PER",), "IOB2"), "viterbi")
    assert head.best_tags(torch.zeros(0, 3), torch.tensor([0])).tolist() == []


def test_a_trained_pipeline_is_read_with_the_other_decoding(checkpoint, tmp_path):
    nlp = tiny.make_nlp(checkpoint, {"scheme": "IOB2"})
    nlp.initialize(lambda: tiny.make_examples(nlp))
    with torch.no_grad():
        # Every token is I-LOC alone: "B", "I" of each label stand behind O.
        project = head_network(nlp.get_pipe("ner").model).project
        project.weight.zero_()
        inside = nlp.get_pipe("ner").tag_set.tags.index("I-LOC")
        project.bias.copy_(torch.eye(len(project.bias))[inside] * 3)
    nlp.to_disk(tmp_path)
    tags = {}
    for decode in ("argmax", "viterbi"):
        pipeline = spacy.load(tmp_path, config={"components.ner.model.head.decode": decode})
        head = head_network(pipeline.get_pipe("ner").model)
        emissions = pipeline.get_pipe("ner").model.predict([pipeline.make_doc("Toyota bought Nokia")])[0]
        chosen = head.best_tags(torch.from_numpy(emissions), torch.tensor([3])).tolist()
        tags[decode] = [pipeline.get_pipe("ner").tag_set.tags[i] for i in chosen]
    assert tags["argmax"] == ["I-LOC"] * 3
    assert tags["viterbi"] == ["B-LOC", "I-LOC", "I-LOC"]
