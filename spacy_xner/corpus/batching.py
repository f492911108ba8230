"""The batcher that takes labelled and unlabelled minibatches in turn."""

from collections.abc import Callable, Iterable, Iterator

from spacy.training import Example

from spacy_xner.attributes import is_labelled
from spacy_xner.types import Size


def create_alternating_batcher(
    size: Size,
    unlabelled_size: Size | None = None,
    keep_surplus: bool = True,
) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Create a batcher of labelled and unlabelled minibatches in turn; see `alternate_batches`.

    size, unlabelled_size: Documents a batch; the second is the first if it is not given.
    """

    def batch(examples: Iterable[Example]) -> Iterator[list[Example]]:
        return alternate_batches(examples, size, unlabelled_size or size, keep_surplus=keep_surplus)

    return batch


def create_summed_batcher(
    size: Size, unlabelled_size: Size | None = None
) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Create a batcher of labelled minibatches with unlabelled documents beside them; see `join_batches`.

    size: Labelled documents a batch.
    unlabelled_size: Unlabelled documents a batch; as many as labelled ones by default.
    """

    def batch(examples: Iterable[Example]) -> Iterator[list[Example]]:
        return join_batches(examples, size, unlabelled_size or size)

    return batch


def join_batches(examples: Iterable[Example], size: int, unlabelled_size: int) -> Iterator[list[Example]]:
    """Cut a mixed stream into labelled minibatches, each with one of unlabelled documents.

    The losses of both are summed in one optimizer step. The labelled documents count the steps: where
    unlabelled ones are rare a batch has fewer or none of them, and where they are many the oldest are left
    out; spaCy shuffles every pass anew, so that the next pass takes others. A stream without labelled
    documents gives no batch.
    SOURCE: Moon et al. 2019, "Multi-task Learning": the sum of the losses on labelled and unlabelled text.
    """
    labelled: list[Example] = []
    unlabelled: list[Example] = []
    for example in examples:
        if is_labelled(example.reference):
            labelled.append(example)
        else:
            unlabelled.append(example)
            # Only the newest ones wait, so that memory does not grow with the text.
            del unlabelled[: -4 * unlabelled_size]
        if len(labelled) == size:
            yield [*labelled, *unlabelled[:unlabelled_size]]
            labelled = []
            del unlabelled[:unlabelled_size]
    if labelled:
        yield [*labelled, *unlabelled[:unlabelled_size]]


def alternate_batches(
    examples: Iterable[Example], size: int, unlabelled_size: int, *, keep_surplus: bool = True
) -> Iterator[list[Example]]:
    """Cut a mixed stream into labelled and unlabelled minibatches, in turn as long as there are both.

    keep_surplus: Go on with unlabelled minibatches where labelled ones are rare or at their end; without it
        a labelled minibatch is followed by at most one unlabelled one, of the newest documents. spaCy
        shuffles every pass anew, so that the next one takes others.
    SOURCE: Moon et al. 2019, "Multi-task Learning": minibatches of the tasks take turns.
    """
    waiting: dict[bool, list[Example]] = {True: [], False: []}
    sizes = {True: size, False: unlabelled_size}
    limits = {kind: 4 * sizes[kind] for kind in sizes}
    turn = True

    def take(kind: bool) -> list[Example]:
        batch, waiting[kind] = waiting[kind][: sizes[kind]], waiting[kind][sizes[kind] :]
        return batch

    for example in examples:
        waiting[is_labelled(example.reference)].append(example)
        if not keep_surplus:
            del waiting[False][: -limits[False]]
        while True:
            kind = turn
            if len(waiting[turn]) < sizes[turn]:
                # The other kind goes on alone where this one is rare.
                kind = not turn
                if len(waiting[kind]) < limits[kind] or not (kind or keep_surplus):
                    break
            yield take(kind)
            turn = not kind
    while waiting[True] or (waiting[False] and (keep_surplus or not turn)):
        kind = turn if waiting[turn] else not turn
        yield take(kind)
        turn = not kind
