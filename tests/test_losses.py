"""Token losses against their formulas, and where their slopes lead."""

import math

import pytest
import torch

from spacy_xner.tagger.losses import create_cross_entropy, create_focal, create_reweighted

LOSSES = {
    "cross entropy": (create_cross_entropy(), lambda p: -math.log(p)),
    "focal": (create_focal(2.0), lambda p: -((1 - p) ** 2) * math.log(p)),
    "reweighted": (create_reweighted(4.0), lambda p: -((1 + p) ** 4) * math.log(p)),
    "reweighted with slope": (
        create_reweighted(4.0, detached=False),
        lambda p: -((1 + p) ** 4) * math.log(p),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.5]])
def test_losses_are_means_of_their_formulas_over_known_tokens(name, weights):
    loss, formula = LOSSES[name]
    logits = torch.randn(6, 3)
    gold = torch.tensor([0, 2, -1, 1, 1, -1])
    own = [1.0] * 3 if weights is None else weights
    rows = [
        (own[tag], formula(float(row.softmax(0)[tag])))
        for row, tag in zip(logits, gold, strict=True)
        if tag >= 0
    ]
    expected = sum(w * value for w, value in rows) / sum(w for w, _ in rows)
    found = loss(logits, gold, None if weights is None else torch.tensor(weights))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(loss(logits, torch.full((6,), -1), None)) == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_slope_of_what_is_certain_is_a_number(gamma):
    logits = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)
    create_focal(gamma)(logits, torch.tensor([0]), None).backward()
    assert torch.isfinite(logits.grad).all()


def slope(loss, p):
    """The change of the loss with the logit of the gold tag, where that has probability p."""
    logits = torch.tensor([[math.log(p), math.log(1 - p)]], requires_grad=True)
    loss(logits, torch.tensor([0]), None).backward()
    return float(logits.grad[0, 0])


@pytest.mark.parametrize("p", [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
def test_only_the_papers_weights_lead_away_from_what_is_half_sure(p):
    assert slope(create_reweighted(4.0), p) < 0
    assert slope(create_reweighted(3.5, detached=False), p) < 0
    assert (slope(create_reweighted(4.0, detached=False), p) > 0) == (0.155 < p < 0.445)
