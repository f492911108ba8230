"""Work that the workers of a Ray cluster share, each in a process of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spacy_xner.errors import Errors, XnerError

Job = Mapping[str, str]


def share_by_ray(
    work: Callable[..., Any], jobs: Sequence[Job], n_workers: int, n_gpus: int | None = None
) -> None:
    """Share jobs among workers, who must see the same folders.

    A job whose worker dies is given to another one.

    work: Does a job, whose values it takes by name. Every worker gets a copy, and keeps what the copy loads.
    n_gpus: GPUs a worker.
    RAISES: XNER715 without Ray.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise XnerError(Errors.XNER715.format(reason=error)) from error
    if not jobs:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    dataset: Any = ray.data.from_items([dict(job) for job in jobs], override_num_blocks=len(jobs))
    compute = ray.data.ActorPoolStrategy(size=n_workers)
    dataset.map(_Worker, fn_constructor_args=(work,), compute=compute, num_gpus=n_gpus).materialize()


class _Worker:
    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work

    def __call__(self, job: dict[str, str]) -> dict[str, str]:
        self._work(**job)
        return job
