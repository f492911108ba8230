"""Workers of a Ray cluster that share the shards of a parallel text."""

from pathlib import Path
from typing import Any

from spacy_xner.errors import Errors, XnerError
from spacy_xner.projector.parts import PartWriter


def project_by_ray(writer: PartWriter, workers: int) -> list[str]:
    """Share shards among the workers of a Ray cluster, which must see the same folders.

    RETURNS: Names of the parts. RAISES: XNER514 without Ray.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise XnerError(Errors.XNER514.format(what="The engine ray", reason=error)) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    n_gpus = 1 if writer.gpu >= 0 else None
    shards = writer.settings.text.shards
    rows = [{"shard": str(path.resolve())} for path in shards]
    dataset: Any = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset.map(
        RayWorker,
        fn_constructor_args=(writer,),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=n_gpus,
    ).materialize()
    return [path.name for path in shards]


class RayWorker:
    """Holds one set of pipelines in a process of its own."""

    def __init__(self, writer: PartWriter) -> None:
        self.writer = writer

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Project the shard of a row."""
        self.writer.write(self.writer.settings.text.shard(Path(row["shard"])))
        return row
