"""Taggers of fewer layers: the lowest ones learn the whole tagger's probabilities from text without labels.

SOURCE: Sanh et al. 2019, https://arxiv.org/abs/1910.01108 (a student of fewer layers that begins with its
teacher's weights); Hinton et al. 2015, https://arxiv.org/abs/1503.02531 (soft targets).
DIFFERS: The student has its teacher's lowest layers, not every second one, so that frozen layers stay those
of the pretrained encoder; it learns from probabilities alone.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import fix_random_seed, set_dropout_rate
from thinc.types import Floats2d

from spacy_xner.attributes import is_blank
from spacy_xner.deploy.finetuning import draw_batches, start_optimizer
from spacy_xner.errors import Errors, XnerError
from spacy_xner.files import folder_size, fresh_folder
from spacy_xner.loading import load_pipeline
from spacy_xner.netfile import write_network
from spacy_xner.objectives.teacher import Teacher, find_taggers
from spacy_xner.shim import TorchShim
from spacy_xner.tagger.component import EntityTagger
from spacy_xner.tagger.confidence import NO_CALIBRATION
from spacy_xner.tagger.model import build_entity_tagger, encoder_network
from spacy_xner.training import steps_per_epoch
from spacy_xner.transformer.exported import ExportedEncoder
from spacy_xner.transformer.freezing import encoder_layers
from spacy_xner.transformer.network import TransformerNetwork

# The fewest texts: every tenth is compared on.
LEAST_TEXTS = 10
MAX_COMPARED = 500

Progress = Callable[[int, int, float], None]


class Schooling(NamedTuple):
    """How a student learns.

    layers: Layers that it keeps, the lowest ones.
    epochs: Passes over the texts.
    steps: Optimizer steps in place of epochs; 0 for epochs.
    learn_rate: The highest rate; it rises in a tenth of the steps and then falls to 0.
    batch_size: Texts a step.
    limit: The first so many texts; 0 takes all.
    """

    layers: int
    epochs: int = 3
    steps: int = 0
    learn_rate: float = 2e-4
    batch_size: int = 32
    limit: int = 0
    seed: int = 0


class Distilled(NamedTuple):
    """The result of a distillation.

    n_before: Layers of the teacher.
    loss: Mean divergence over the last tenth of the steps, in nats a token.
    agreement: F1 of the student's entities by the teacher's, on texts that nothing was learnt from.
    n_bytes: Size of the folder, if there is one.
    """

    n_before: int
    n_after: int
    n_texts: int
    n_steps: int
    loss: float
    agreement: float
    n_bytes: int = 0


def distill_folder(
    path: Path, out: Path, texts: Iterable[str], schooling: Schooling, progress: Progress | None = None
) -> Distilled:
    """Write a pipeline whose tagger has fewer layers; `out` is whole, or as it was before.

    RAISES: As `distill`; XNER420, XNER701 to XNER703.
    """
    with fresh_folder(out) as folder:
        nlp, student = load_pipeline(path), load_pipeline(path)
        result = distill(nlp, student, texts, schooling, progress)
        student.to_disk(folder)
    return result._replace(n_bytes=folder_size(out))


def distill(
    nlp: Language,
    student: Language,
    texts: Iterable[str],
    schooling: Schooling,
    progress: Progress | None = None,
) -> Distilled:
    """Cut the tagger of a pipeline to fewer layers and let it learn from the whole one.

    nlp: The pipeline with the teacher; it stays as it is.
    student: The same pipeline once more, which is changed.
    progress: Called after every step with its number, the number of all steps, and the loss.
    RAISES: XNER650 for a pipeline without exactly one tagger on a transformer in float weights, XNER651 for a
        number of layers that are not fewer, XNER652 for too few texts.
    """
    name, teacher = _only_tagger(nlp)
    n_before = _count_layers(teacher)
    if not 1 <= schooling.layers < n_before:
        raise XnerError(Errors.XNER651.format(n_layers=n_before, found=schooling.layers))
    docs = [nlp.make_doc(text) for text in islice(texts, schooling.limit or None)]
    docs = [doc for doc in docs if not is_blank(doc)]
    if len(docs) < LEAST_TEXTS:
        raise XnerError(Errors.XNER652.format(least=LEAST_TEXTS, found=len(docs)))
    fix_random_seed(schooling.seed)
    pupil: Any = student.get_pipe(name)
    cut_tagger(student, name, schooling.layers)
    # The teacher's calibration and its figures are no property of the student.
    pupil.cfg["calibration"] = NO_CALIBRATION
    student.meta["performance"] = {}
    compared = docs[::LEAST_TEXTS][:MAX_COMPARED]
    held_out = {id(doc) for doc in compared}
    learnt = [doc for doc in docs if id(doc) not in held_out]
    losses = list(_learn(pupil, Teacher(teacher), learnt, schooling, progress))
    last = losses[-max(1, len(losses) // 10) :]
    return Distilled(
        n_before, schooling.layers, len(learnt), len(losses), sum(last) / len(last),
        agreement(teacher, pupil, compared),
    )  # fmt: skip


def cut_tagger(nlp: Language, name: str, n_layers: int) -> None:
    """Give a tagger an encoder with its lowest layers alone, in place; its config says so too.

    The layers that were frozen stay frozen, but for the highest one that is left. A mix of layers goes.
    """
    tagger: Any = nlp.get_pipe(name)
    config = nlp.get_pipe_config(name)["model"]["tok2vec"]
    config["n_layers"] = n_layers
    config["n_frozen_layers"] = min(config.get("n_frozen_layers", 0), n_layers - 1)
    config["mix_layers"] = False
    model = registry.resolve({"encoder": config})["encoder"]
    before, shim = tagger.model.get_ref("tok2vec").shims[0], model.shims[0]
    shim.from_bytes(_lowest(before, n_layers))
    model.set_dim("nO", shim.network.width, force=True)
    tagger.model = build_entity_tagger(model, tagger.model.get_ref("head"))


def agreement(teacher: EntityTagger, student: EntityTagger, docs: list[Doc]) -> float:
    """Find the F1 of a tagger's entities by those of another one; 1 where neither finds any."""
    n_both = n_all = 0
    for start in range(0, len(docs), 64):
        batch = docs[start : start + 64]
        pairs = zip(teacher.find_entities(batch), student.find_entities(batch), strict=True)
        for right, given in pairs:
            n_both += len(set(right) & set(given))
            n_all += len(right) + len(given)
    return 2 * n_both / n_all if n_all else 1.0


def _only_tagger(nlp: Language) -> tuple[str, EntityTagger]:
    taggers = find_taggers(nlp)
    reason = f"there are {len(taggers)} taggers ({', '.join(taggers) or 'none'})"
    if len(taggers) == 1:
        [(name, tagger)] = taggers.items()
        network = encoder_network(tagger.model)
        if isinstance(network, TransformerNetwork) and not isinstance(network.encoder, ExportedEncoder):
            return name, tagger
        reason = f"the encoder of {name!r} is another one ({tagger.model.get_ref('tok2vec').name})"
    raise XnerError(Errors.XNER650.format(found=reason))


def _count_layers(tagger: EntityTagger) -> int:
    parts = encoder_layers(encoder_network(tagger.model).encoder)
    return len(parts[1]) if parts else 0


def _lowest(shim: TorchShim, n_layers: int) -> bytes:
    """The lowest layers of a network, as they are stored."""
    network: Any = shim.network
    parts = encoder_layers(network.encoder)
    assert parts is not None
    prefixes = {id(module): name for name, module in network.named_modules()}
    dropped = tuple(f"{prefixes[id(layer)]}." for layer in parts[1][n_layers:])
    # A mix of layers is one of the highest, most of which the student does not have.
    dropped = (*dropped, "mix.")
    tensors = {key: value for key, value in network.state_dict().items() if not key.startswith(dropped)}
    cfg = {key: value for key, value in shim.cfg.items() if key != "mixed_layers"}
    cfg["config"] = {**cfg["config"], "num_hidden_layers": n_layers}
    return write_network(cfg, tensors, "float32")


def _learn(
    student: EntityTagger, teacher: Teacher, docs: list[Doc], schooling: Schooling, progress: Progress | None
) -> Iterator[float]:
    """Train the student. YIELDS: The loss of every step."""
    size = schooling.batch_size
    n_steps = schooling.steps or schooling.epochs * steps_per_epoch(len(docs), size)
    optimizer, rates = start_optimizer(student, schooling.learn_rate, n_steps)
    scores: dict[int, Floats2d] = {}
    batches = draw_batches(len(docs), size, random.Random(schooling.seed))
    for step, batch in enumerate(islice(batches, n_steps), start=1):
        chosen = [docs[i] for i in batch]
        if missing := [i for i in batch if i not in scores]:
            scores.update(zip(missing, teacher.scores([docs[i] for i in missing]), strict=True))
        optimizer.learn_rate = next(rates)
        set_dropout_rate(student.model, 0.1)
        loss = student.check_loss(student.learn_scores(chosen, [scores[i] for i in batch]), chosen)
        student.finish_update(optimizer)
        if progress is not None:
            progress(step, n_steps, loss)
        yield loss
