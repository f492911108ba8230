"""Stochastic gradient descent with momentum, a rate that falls from epoch to epoch, and stored optimizers."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from spacy.language import Language
from spacy.util import registry
from thinc.api import Adam, Optimizer, warmup_linear
from thinc.backends import get_array_ops
from thinc.optimizers import FloatOrSeq
from thinc.types import FloatsXd

from spacy_xner.errors import Errors, XnerError
from spacy_xner.types import Discount, Positive, Rate, Size, Weight


class SGD(Optimizer):
    """Gradient descent with momentum; thinc's has none. Gradients are clipped by number or by norm.

    SOURCE: Polyak 1964; clipping as in Huang et al. 2019, section 3.2.
    """

    def __init__(
        self,
        learn_rate: FloatOrSeq,
        *,
        momentum: float,
        clip: float,
        clip_norm: float = 0.0,
        use_averages: bool = False,
    ) -> None:
        # Without a second moment no part of thinc takes this for Adam.
        super().__init__(
            learn_rate, L2=0.0, beta1=momentum, beta2=0.0, grad_clip=0.0, use_averages=use_averages
        )
        self.clip = clip
        self.clip_norm = clip_norm

    def __call__(
        self, key: tuple[int, str], weights: FloatsXd, gradient: FloatsXd, *, lr_scale: float = 1.0
    ) -> tuple[FloatsXd, FloatsXd]:
        """Step one parameter. RETURNS: Weights, and a gradient of zeros."""
        self.nr_update[key] += 1
        if self.clip:
            gradient = gradient.clip(-self.clip, self.clip)
        if self.clip_norm:
            norm = float((gradient**2).sum()) ** 0.5
            gradient = gradient * min(1.0, self.clip_norm / (norm + 1e-12))
        if key not in self.mom1:
            self.mom1[key] = gradient * 0
        velocity: Any = self.mom1[key]
        velocity *= self.b1
        velocity += gradient
        weights -= lr_scale * self.learn_rate * velocity
        gradient *= 0
        if self.averages is not None:
            if key not in self.averages:
                self.averages[key] = weights.copy()
            get_array_ops(weights).update_averages(self.averages[key], weights, self.nr_update[key])
        return weights, gradient


def create_sgd(
    learn_rate: FloatOrSeq,
    momentum: Discount = 0.9,
    clip: Weight = 5.0,
    clip_norm: Weight = 0.0,
    *,
    use_averages: bool = False,
) -> Optimizer:
    """Create gradient descent with momentum.

    learn_rate: A number or a schedule.
    momentum: Share of the last step that goes into the next one.
    clip: Gradients are cut to [-clip, clip]; 0 leaves them.
    clip_norm: The gradient of every parameter is brought to at most this norm, as thinc's optimizers do; 0
        leaves it.
    use_averages: Score and keep a running average of the weights, of about the last ninth of the steps, as
        thinc's optimizers do.
    """
    return SGD(learn_rate, momentum=momentum, clip=clip, clip_norm=clip_norm, use_averages=use_averages)


def create_adam_or_sgd(
    learn_rate: FloatOrSeq,
    method: Literal["adam", "sgd"] = "adam",
    momentum: Discount = 0.9,
    clip: Weight = 0.0,
    clip_norm: Weight = 1.0,
    *,
    use_averages: bool = True,
) -> Optimizer:
    """Create one of two optimizers by a variable of a config; each of them needs a learning rate of its own.

    learn_rate: A number or a schedule.
    method: Adam, or gradient descent with momentum.
    momentum: Share of the last step that goes into the next one; Adam's first beta.
    clip: Gradients are cut to [-clip, clip]; 0 leaves them. Adam divides by the size of the gradients, and
        has no such limit.
    clip_norm: The gradient of every parameter is brought to at most this norm; 0 leaves it.
    use_averages: See `create_sgd`.
    RAISES: XNER623 for Adam with `clip`.
    """
    if method == "sgd":
        return create_sgd(learn_rate, momentum, clip, clip_norm, use_averages=use_averages)
    if clip:
        raise XnerError(Errors.XNER623.format(clip=clip))
    # Weight decay would pull the characters' vectors towards silence.
    return Adam(learn_rate, beta1=momentum, L2=0.0, grad_clip=clip_norm, use_averages=use_averages)


def create_epoch_decay(
    initial_rate: Positive,
    decay: Weight,
    steps_per_epoch: Size,
    floor: Weight = 0.0,
) -> Iterator[float]:
    """Create initial_rate / (1 + n * decay) for the epoch after the n-th, at least `floor`.

    initial_rate: Rate of the first epoch.
    decay: The greater it is the faster the rate falls.
    steps_per_epoch: Steps after which the rate falls.
    floor: Rate below which it does not fall.
    SOURCE: Huang et al. 2019, section 3.2; with a floor Bari et al. 2020.
    """
    step = 0
    while True:
        yield max(initial_rate / (1 + step // steps_per_epoch * decay), floor)
        step += 1


def create_warmup_linear(initial_rate: Positive, total_steps: Size, warmup: Rate = 0.1) -> Iterator[float]:
    """Create a rate that rises from 0 to the initial rate, and falls to 0 at the last step.

    initial_rate: The highest rate.
    total_steps: Steps of the training.
    warmup: Share of the steps in which the rate rises, so that short trainings do not end before they have
        begun; `warmup_linear.v1` of thinc has a number of steps.
    """
    yield from warmup_linear(initial_rate, round(warmup * total_steps), total_steps)


def create_optimizer_resolver() -> Callable[[Language], Language]:
    """Create the callback `[training.before_to_disk]` that stores an optimizer for training on.

    spaCy reads the section [training.optimizer] of a loaded pipeline by itself in `nlp.resume_training()` and
    `nlp.update()`, where `${vars.learn_rate}` would stay as it is written and be an error.
    """
    return resolve_optimizer


def resolve_optimizer(nlp: Language) -> Language:
    """Write the values of the variables into the optimizer of a pipeline's config.

    A learning rate that begins at 0 is written as its initial rate: in a loop that steps no schedules
    it would stay 0, and a trained pipeline needs no warm-up.
    """
    settings = nlp.config.interpolate()["training"]["optimizer"]
    optimizer = registry.resolve({"optimizer": settings})["optimizer"]
    schedule = settings.get("learn_rate")
    if optimizer.learn_rate == 0 and isinstance(schedule, dict) and "initial_rate" in schedule:
        settings["learn_rate"] = schedule["initial_rate"]
    nlp.config["training"]["optimizer"] = settings
    return nlp
