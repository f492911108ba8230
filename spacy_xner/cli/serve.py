"""`spacy xner serve`: a pipeline as a service with a page."""

from typing import Annotated

import typer
from wasabi import msg

from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Gpu


@verb("serve")
def serve_cli(
    model: Annotated[str, typer.Argument(help="Pipeline folder or installed package.")],
    host: Annotated[str, typer.Option(help="Address to listen at; the loopback alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000,
    batch_size: Annotated[int, typer.Option(help="Texts of all requests a batch.")] = 64,
    wait: Annotated[float, typer.Option(help="Milliseconds that a batch waits for more texts.")] = 3.0,
    max_texts: Annotated[int, typer.Option(help="Texts a request.")] = 64,
    max_characters: Annotated[int, typer.Option(help="Characters a request.")] = 100_000,
    max_waiting: Annotated[int, typer.Option(help="Texts that may wait; more are refused.")] = 1024,
    timeout: Annotated[float, typer.Option(help="Seconds until a request is given up.")] = 30.0,
    gpu: Gpu = -1,
) -> None:
    """Answer requests for entities, and show a page to try texts in, until Ctrl+C.

    The page is at http://127.0.0.1:8000/; POST /entities takes {"text": ...} or {"texts": [...]}, and
    optionally language and threshold. It needs: pip install 'spacy_xner[serve]'.
    EXAMPLE: python -m spacy xner serve xx_xner
    """
    from spacy.cli._util import setup_gpu

    from spacy_xner.deploy.serve.limits import Limits
    from spacy_xner.deploy.serve.server import serve_pipeline

    # Four bytes a character and what JSON adds for escapes.
    limits = Limits(
        batch_size, wait / 1000, max_texts, max_characters, 12 * max_characters + 10_000, max_waiting, timeout
    )
    setup_gpu(gpu, silent=True)
    msg.info(f"Loading {model}; then it is at http://{host}:{port}/ until Ctrl+C")
    serve_pipeline(model, host, port, limits)
