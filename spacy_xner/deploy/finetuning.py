"""The steps of a training that goes on from a trained tagger: rates, the optimizer, batches."""

import random
from collections.abc import Iterator
from itertools import islice

from thinc.api import Adam

from spacy_xner.optimizer import create_warmup_linear
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.model import encoder_shims


def start_optimizer(tagger: EntityTagger, learn_rate: float, n_steps: int) -> tuple[Adam, Iterator[float]]:
    """Make an optimizer for a tagger on a pretrained encoder.

    RETURNS: The optimizer, without a rate yet; and a rate for each step, which rises in a tenth of them and
        then falls to 0.
    """
    # This optimizer has a rate for transformers: the limit of the config is for other ones.
    for shim in encoder_shims(tagger.model):
        shim.max_learn_rate = None
    optimizer = Adam(0.0, L2=0.01, L2_is_weight_decay=True, grad_clip=1.0, use_averages=False)
    # The first rate of the schedule is 0.
    return optimizer, islice(create_warmup_linear(learn_rate, n_steps + 1), 1, None)


def draw_batches(n: int, size: int, generator: random.Random) -> Iterator[list[int]]:
    """Draw batches of the numbers below n without end, every pass in another order; empty ones for n = 0."""
    order = list(range(n))
    while True:
        generator.shuffle(order)
        if not order:
            yield []
        yield from (order[start : start + size] for start in range(0, n, size))
