"""The CRF against sums and maxima over all paths."""

import itertools

import numpy
import pytest
import torch

from spacy_xner.tagger.crf import LinearChainCRF, pack, sum_log_paths, sum_paths
from spacy_xner.tags import TagSet

LENGTHS = [3, 1, 4, 2]
TAG_SET = TagSet(("PER",), "IOB2")
GOLD = [0, 1, 2, 0, 1, 2, 2, 0, 0, 1]
PARTIAL = [0, -1, 2, -1, 1, 2, -1, 0, 0, 1]
UNKNOWN = [-1] * 10
# I-PER after O and at the start of a document.
IMPOSSIBLE = [0, 2, -1, 2, 1, -1, 0, 2, 0, 1]


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


def enumerated_likelihood(crf, emissions, gold):
    """Log-likelihood as a sum over all paths."""
    total = torch.zeros((), dtype=torch.double)
    for doc, doc_gold in zip(documents(emissions), documents(gold), strict=True):
        paths, scores = all_scores(crf, doc)
        fits = torch.tensor(
            [all(g in (-1, t) for g, t in zip(doc_gold, path, strict=True)) for path in paths]
        )
        total = total + scores[fits].logsumexp(0) - scores.logsumexp(0)
    return total


@pytest.mark.parametrize("gold", [GOLD, PARTIAL, UNKNOWN, IMPOSSIBLE])
# The last two are summed as logarithms.
@pytest.mark.parametrize("scale", [1, 20, 60, 1000])
def test_likelihood_and_gradient_equal_enumeration(crf, emissions, gold, scale):
    emissions = (scale * emissions).requires_grad_()
    gold = torch.tensor(gold)
    results = []
    for value in (
        crf.log_likelihood(emissions, gold, torch.tensor(LENGTHS)),
        enumerated_likelihood(crf, emissions, gold),
    ):
        results.append((value, *torch.autograd.grad(value, (emissions, crf.transitions))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gold", [GOLD, PARTIAL])
def test_gradient_equals_differences(crf, emissions, gold):
    def likelihood(emissions, transitions):
        # `transitions` is the parameter itself, moved in place.
        return crf.log_likelihood(emissions, torch.tensor(gold), torch.tensor(LENGTHS))

    assert torch.autograd.gradcheck(likelihood, (emissions.requires_grad_(), crf.transitions))


@pytest.mark.parametrize("height", [1, 50, 90, 400])
def test_single_precision_keeps_extreme_scores(crf, height):
    crf = crf.float()
    with torch.no_grad():
        crf.transitions.mul_(3)
    # Steps that the scheme forbids are the most likely by far: O I-PER, I-PER at the start.
    emissions = height * torch.tensor([[1, -1, -1], [-1, -1, 1], [1, -1, -1], [-1, -1, 1], [-1, 1, -1.0]])
    emissions = emissions.repeat(2, 1).requires_grad_()
    gold = torch.tensor([0, 0, -1, -1, 1, 1, 2, 0, -1, 0])
    found = crf.log_likelihood(emissions, gold, torch.tensor(LENGTHS))
    exact = emissions.detach().double().requires_grad_()
    expected = enumerated_likelihood(crf.double(), exact, gold)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    expected.backward()
    torch.testing.assert_close(emissions.grad, exact.grad.float(), rtol=0, atol=1e-6)


def test_likelihood_counts_a_path_whose_prefix_underflows():
    crf = LinearChainCRF(torch.from_numpy(TAG_SET.allowed))
    # The best path by 100 nats begins 800 below the best tag of its first token.
    emissions = torch.tensor([[0, -800, 0], [-500, -900, 0], [-500, -900, 0.0]])
    found = crf.log_likelihood(emissions, torch.tensor([0, 0, 0]), torch.tensor([3]))
    assert found.item() == pytest.approx(-1000 + 800)


def test_batch_is_the_sum_of_its_documents():
    tag_set = TagSet(("PER", "LOC"), "BIOES")
    crf = LinearChainCRF(torch.from_numpy(tag_set.allowed))
    torch.nn.init.normal_(crf.transitions)
    lengths = torch.randint(1, 30, (20,))
    emissions = 5 * torch.randn(int(lengths.sum()), len(tag_set), requires_grad=True)
    gold = torch.randint(-1, len(tag_set), (len(emissions),))
    together = crf.log_likelihood(emissions, gold, lengths)
    sizes = lengths.tolist()
    docs = zip(emissions.split(sizes), gold.split(sizes), lengths.split(1), strict=True)
    alone = torch.stack([crf.log_likelihood(*doc) for doc in docs]).sum()
    for found, expected in zip(
        (together, *torch.autograd.grad(together, (emissions, crf.transitions))),
        (alone, *torch.autograd.grad(alone, (emissions, crf.transitions))),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES"])
def test_weights_and_their_logarithms_give_the_same_sums(scheme):
    tag_set = TagSet(("PER", "LOC", "ORG"), scheme)
    crf = LinearChainCRF(torch.from_numpy(tag_set.allowed))
    torch.nn.init.normal_(crf.transitions)
    lengths = torch.randint(1, 30, (20,))
    emissions = 15 * torch.randn(int(lengths.sum()), len(tag_set))
    scores = (crf.transitions + crf.penalty).detach()
    both = [work(emissions, scores, pack(lengths)) for work in (sum_paths, sum_log_paths)]
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.fixture
def separable():
    """A CRF whose tokens do not depend on one another, and what their tags add to the scores."""
    n_tags = 5
    crf = LinearChainCRF(torch.ones(n_tags + 1, n_tags + 1, dtype=torch.bool))
    leaving, entering = torch.randn(2, n_tags + 1)
    leaving[-1] = entering[-1] = 0
    with torch.no_grad():
        crf.transitions.copy_(leaving[:, None] + entering)
    return crf, (leaving + entering)[:-1]


def test_likelihood_of_100_000_tokens_is_exact(separable):
    crf, added = separable
    emissions = (3 + 2 * torch.randn(100_000, len(added))).requires_grad_()
    gold = torch.randint(-1, len(added), (100_000,))
    found = crf.log_likelihood(emissions, gold, torch.tensor([100_000]))
    exact = emissions.detach().double().requires_grad_()
    log_p = (exact + added.double()).log_softmax(1)
    expected = log_p.gather(1, gold.clamp(min=0)[:, None])[gold >= 0].sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    expected.backward()
    torch.testing.assert_close(emissions.grad, exact.grad.float(), rtol=0, atol=1e-5)


def test_best_path_of_100_000_tokens_is_exact(separable):
    crf, added = separable
    emissions = 3 + 2 * torch.randn(100_000, len(added))
    found = crf.best_tags(emissions, torch.tensor([100_000]))
    scores = emissions + added
    lost = scores.amax(1) - scores.gather(1, found[:, None])[:, 0]
    assert lost.max() < 1e-4


def test_likelihood_of_nothing_is_zero(crf, emissions):
    assert crf.log_likelihood(emissions[:0], torch.tensor([]).long(), torch.tensor([]).long()) == 0


def test_likelihood_trains_the_transitions(crf, emissions):
    gold = torch.tensor(GOLD)
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
