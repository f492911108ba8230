"""Run the service of a pipeline until it is interrupted."""

from spacy_xner.deploy.serve.limits import Limits
from spacy_xner.errors import Errors, XnerError
from spacy_xner.loading import load_pipeline

LOOPBACK = "127.0.0.1"


def serve_pipeline(
    pipeline: str, host: str = LOOPBACK, port: int = 8000, limits: Limits | None = None
) -> None:
    """Load a pipeline and answer requests until SIGINT or SIGTERM, which lets running ones end.

    host: Address to listen at; others than the loopback let other machines ask.
    RAISES: XNER420, XNER720 without the extra `[serve]`.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise XnerError(Errors.XNER720.format(reason=error)) from error
    from spacy_xner.deploy.serve.app import create_app

    limits = limits or Limits()
    app = create_app(load_pipeline(pipeline), limits)
    seconds = int(limits.timeout) + 1
    uvicorn.run(
        app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=seconds
    )
