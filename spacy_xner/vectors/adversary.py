"""The adversarial start: a map that a discriminator cannot tell from the target language.

SOURCE: Bari et al. 2020, equations 3 and 4; Lample et al. 2018, "Word translation without parallel data",
section 3.
"""

from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from spacy_xner.errors import Errors, XnerError
from spacy_xner.vectors.mapping import mean_cosine, nearest_rotation

# Slope of the discriminator's activations for negative numbers (Lample et al. 2018).
LEAK = 0.2


class Adversary(NamedTuple):
    """Settings of adversarial training. They differ from Lample et al.'s where that saves work.

    hidden: Width of the discriminator's two hidden layers.
    n_frequent: Number of most frequent words of each language that are drawn.
    batch_size: Words of each language in a batch.
    n_steps: Steps of the map in an epoch.
    n_discriminator: Steps of the discriminator before each step of the map.
    dropout: Share of the discriminator's inputs that are dropped.
    smoothing: Label smoothing; the labels are `smoothing` and `1 - smoothing`.
    learning_rate: Rate of the map. A discriminator that learns faster than the map soon separates the
        languages perfectly, and the map gets no gradient.
    discriminator_rate: Rate of the discriminator.
    decay: Factor on both rates after every epoch.
    beta: Strength of the pull towards a rotation, as in `pull_to_rotation`.
    shrink: Factor on the map's rate after an epoch whose criterion is below the best one's, from the second
        such epoch on. The criterion also falls on the way to a good map, so 1 leaves the rate.
    n_scored: Number of most frequent source words by which an epoch is scored.
    """

    hidden: int = 256
    n_frequent: int = 5_000
    batch_size: int = 32
    n_epochs: int = 6
    n_steps: int = 2500
    n_discriminator: int = 1
    dropout: float = 0.1
    smoothing: float = 0.1
    learning_rate: float = 1.0
    discriminator_rate: float = 0.1
    decay: float = 0.98
    beta: float = 0.03
    shrink: float = 1.0
    n_scored: int = 2_000


ADVERSARY = Adversary()
# Lample et al. 2018, which Bari et al. use: a million samples an epoch. A run takes hours without a GPU.
CONNEAU = Adversary(
    hidden=2048, n_frequent=75_000, n_epochs=5, n_steps=1_000_000 // 32, n_discriminator=5,
    learning_rate=0.1, beta=0.001, shrink=0.5, n_scored=10_000,
)  # fmt: skip


def parse_adversary(text: str) -> Adversary:
    """Read settings: "conneau", "NAME=VALUE", or both with commas between; nothing gives the defaults.

    RAISES: XNER625.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    settings = CONNEAU if names[:1] == ["conneau"] else ADVERSARY
    for part in names[1:] if settings is CONNEAU else names:
        name, _, value = part.partition("=")
        try:
            is_known = name in Adversary._fields
            number = type(getattr(settings, name))(value) if is_known else 0
        except ValueError:
            is_known = False
        if not is_known or not isfinite(number) or number < 0:
            raise XnerError(Errors.XNER625.format(text=text, known=", ".join(Adversary._fields)))
        settings = settings._replace(**{name: number})
    return settings


def learn_rotation(x: Tensor, y: Tensor, settings: Adversary, generator: torch.Generator) -> Tensor:
    """Learn a rotation of the source's rows that a discriminator cannot tell from the target's rows.

    x, y: Rows of unit length, the most frequent word first. Shapes: (n_source, width), (n_target, width).
    RETURNS: The rotation of the epoch with the best criterion (`mean_cosine`). The map of an epoch is made a
        rotation before it is scored, because a map that stretches can score higher and translate worse.
        Shape: (width, width).
    """
    game = _Game(x, y, settings, generator)
    best, best_score, has_fallen = game.mapping, -1.0, False
    progress = tqdm(total=settings.n_epochs * settings.n_steps, unit=" steps", disable=None)
    for _ in range(settings.n_epochs):
        for _ in range(settings.n_steps):
            for _ in range(settings.n_discriminator):
                game.step_discriminator()
            game.step_mapping()
            progress.update()
        # The map diverged: keep the best epoch so far, or the initial random rotation if there is none.
        if not game.mapping.isfinite().all():
            break
        rotation = nearest_rotation(game.mapping)
        score = mean_cosine(x @ rotation, y, n_frequent=settings.n_scored)
        game.decay_rates()
        if score > best_score:
            best, best_score = rotation, score
        else:
            game.shrink_rate(settings.shrink if has_fallen else 1.0)
            has_fallen = True
    progress.close()
    return best


def pull_to_rotation(mapping: Tensor, beta: float) -> Tensor:
    """Move a map a step towards the nearest rotation. SOURCE: Lample et al. 2018, equation 7."""
    return (1 + beta) * mapping - beta * mapping @ mapping.T @ mapping


def random_rotation(width: int, generator: torch.Generator) -> Tensor:
    """Draw a rotation. Shape: (width, width)."""
    q, r = torch.linalg.qr(torch.randn(width, width, generator=generator))
    return q * r.diagonal().sign()


def make_discriminator(width: int, hidden: int, generator: torch.Generator) -> nn.Sequential:
    """Build a network that gives the logit of "this row is a mapped source word".

    The weights are drawn from the generator, so that the global random state stays as it is. They are small:
    a discriminator that is steep from the outset pushes the map in arbitrary directions.
    """
    layers = [
        nn.utils.skip_init(nn.Linear, n_in, n_out)
        for n_in, n_out in ((width, hidden), (hidden, hidden), (hidden, 1))
    ]
    with torch.no_grad():
        for layer in layers:
            shape = layer.weight.shape
            layer.weight.copy_(torch.randn(shape, generator=generator) / (3 * shape[1]) ** 0.5)
            layer.bias.zero_()
    first, second, last = layers
    return nn.Sequential(first, nn.LeakyReLU(LEAK), second, nn.LeakyReLU(LEAK), last)


class _Game:
    """A map and its discriminator, which take turns in learning.

    mapping: The map as it stands. Shape: (width, width).
    """

    def __init__(self, x: Tensor, y: Tensor, settings: Adversary, generator: torch.Generator) -> None:
        width = x.shape[1]
        self._settings = settings
        self._generator = generator
        self._frequent = x[: settings.n_frequent], y[: settings.n_frequent]
        self._discriminator = make_discriminator(width, settings.hidden, generator)
        self._descent = torch.optim.SGD(self._discriminator.parameters(), lr=settings.discriminator_rate)
        self._rate = settings.learning_rate
        self.mapping = random_rotation(width, generator)

    def step_discriminator(self) -> None:
        """Teach the discriminator to tell mapped rows from the target's rows (equation 3)."""
        rows, others = self._sample()
        self._descent.zero_grad()
        self._loss(rows @ self.mapping, others, 1 - self._settings.smoothing).backward()
        self._descent.step()

    def step_mapping(self) -> None:
        """Move the map to where the discriminator errs (equation 4)."""
        rows, others = self._sample()
        trained = self.mapping.clone().requires_grad_()
        loss = self._loss(rows @ trained, others, self._settings.smoothing)
        (gradient,) = torch.autograd.grad(loss, trained)
        self.mapping = pull_to_rotation(self.mapping - self._rate * gradient, self._settings.beta)

    def decay_rates(self) -> None:
        """Lower both learning rates after an epoch."""
        self._rate *= self._settings.decay
        self._descent.param_groups[0]["lr"] *= self._settings.decay

    def shrink_rate(self, factor: float) -> None:
        """Lower the map's rate alone."""
        self._rate *= factor

    def _sample(self) -> tuple[Tensor, Tensor]:
        """Draw a batch of words of each language. Shape: (batch_size, width), twice."""
        size = (self._settings.batch_size,)
        x, y = (rows[torch.randint(len(rows), size, generator=self._generator)] for rows in self._frequent)
        return x, y

    def _loss(self, mapped: Tensor, others: Tensor, truth: float) -> Tensor:
        """Cross entropy of the discriminator. Unit: nats, the mean of all rows.

        mapped: Mapped rows of the source. Shape: (batch_size, width).
        others: Rows of the target. Shape: (batch_size, width).
        truth: Label of the mapped rows; the others have `1 - truth`.
        """
        rows = torch.cat((mapped, others))
        width, dropout = rows.shape[1], self._settings.dropout
        # nn.Dropout would draw from the global random state.
        mask = torch.rand(rows.shape, generator=self._generator) >= dropout
        # Rows of unit length are scaled to unit variance, whatever their width.
        logits = self._discriminator(rows * mask * (width**0.5 / (1 - dropout)))[:, 0]
        labels = torch.full((len(rows),), 1 - truth).index_fill_(0, torch.arange(len(mapped)), truth)
        return binary_cross_entropy_with_logits(logits, labels)
