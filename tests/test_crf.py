"""The CRF against sums and maxima over all paths."""

import itertools

import numpy
import pytest
import torch

from spacy_xner.tagger.crf import LinearChainCRF, pack
from spacy_xner.tags import TagSet

LENGTHS = [3, 1, 4, 2]
TAG_SET = TagSet(("PER",), "IOB2")


@pytest.fixture
def crf():
    crf = LinearChainCRF(torch.from_numpy(TAG_SET.allowed)).double()
    torch.nn.init.normal_(crf.transitions)
    return crf


@pytest.fixture
def emissions():
    return torch.randn(sum(LENGTHS), len(TAG_SET), dtype=torch.double)


def path_score(crf, emissions, path):
    """Score of one path, added up step by step."""
    transitions, starts, ends = crf.scores()
    score = starts[path[0]] + ends[path[-1]]
    score = score + sum(emissions[i, tag] for i, tag in enumerate(path))
    return score + sum(transitions[a, b] for a, b in itertools.pairwise(path))


def all_scores(crf, emissions):
    """Scores of all paths of one document."""
    paths = list(itertools.product(range(emissions.shape[1]), repeat=len(emissions)))
    return paths, torch.stack([path_score(crf, emissions, path) for path in paths])


def documents(tensor):
    return tensor.split(LENGTHS)


def test_packing_lists_every_row_position_by_position():
    packing = pack(torch.tensor(LENGTHS))
    assert sorted(packing.order.tolist()) == list(range(sum(LENGTHS)))
    assert packing.sizes == [4, 3, 2, 1]
    # Document 2 is the longest, then 0, 3 and 1.
    assert packing.order[:4].tolist() == [4, 0, 8, 3]


@pytest.mark.parametrize("with_missing", [False, True])
def test_likelihood_equals_enumeration(crf, emissions, with_missing):
    gold = torch.tensor([0, 1, 2, 0, 1, 2, 2, 0, 0, 1])
    if with_missing:
        gold[[1, 3, 6]] = -1
    expected = torch.zeros((), dtype=torch.double)
    for doc, doc_gold in zip(documents(emissions), documents(gold), strict=True):
        paths, scores = all_scores(crf, doc)
        fits = torch.tensor(
            [all(g in (-1, t) for g, t in zip(doc_gold, path, strict=True)) for path in paths]
        )
        expected = expected + scores[fits].logsumexp(0) - scores.logsumexp(0)
    found = crf.log_likelihood(emissions, gold, torch.tensor(LENGTHS))
    assert found.item() == pytest.approx(expected.item(), abs=1e-9)


def test_likelihood_trains_the_transitions(crf, emissions):
    gold = torch.tensor([0, 1, 2, 0, 1, 2, 2, 0, 0, 1])
    (-crf.log_likelihood(emissions, gold, torch.tensor(LENGTHS))).backward()
    assert crf.transitions.grad is not None
    assert crf.transitions.grad.abs().sum() > 0


def test_best_path_beats_every_other_path(crf, emissions):
    found = crf.best_tags(emissions, torch.tensor(LENGTHS))
    for doc, tags in zip(documents(emissions), documents(found), strict=True):
        paths, scores = all_scores(crf, doc)
        assert tuple(tags.tolist()) == paths[int(scores.argmax())]


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES"])
def test_best_path_obeys_the_scheme(scheme):
    tag_set = TagSet(("PER", "LOC"), scheme)
    crf = LinearChainCRF(torch.from_numpy(tag_set.allowed))
    emissions = 50 * torch.randn(200, len(tag_set))
    path = [len(tag_set), *crf.best_tags(emissions, torch.tensor([200])).tolist(), len(tag_set)]
    assert all(tag_set.allowed[a, b] for a, b in itertools.pairwise(path))


def test_span_marginals_equal_enumeration(crf, emissions):
    tags = crf.best_tags(emissions, torch.tensor(LENGTHS))
    starts = numpy.cumsum([0, *LENGTHS])
    spans = [(d, a, b) for d, n in enumerate(LENGTHS) for a in range(n) for b in range(a + 1, n + 1)]
    places = torch.tensor([(starts[d] + a, starts[d] + b) for d, a, b in spans])
    found = crf.span_log_marginals(emissions, torch.tensor(LENGTHS), tags, places).exp()
    for (d, a, b), value in zip(spans, found, strict=True):
        paths, scores = all_scores(crf, documents(emissions)[d])
        wanted = documents(tags)[d][a:b].tolist()
        fits = torch.tensor([list(path[a:b]) == wanted for path in paths])
        expected = (scores[fits].logsumexp(0) - scores.logsumexp(0)).exp()
        assert value.item() == pytest.approx(expected.item(), abs=1e-9)
