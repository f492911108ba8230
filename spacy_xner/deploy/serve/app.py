"""The web application: `POST /entities`, the page, `/health`, `/metrics`.

It needs the extra `[serve]`; `server.py` says so when that is missing.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from spacy.language import Language
from starlette.exceptions import HTTPException

from spacy_xner.deploy.serve.batching import Answer, Batcher
from spacy_xner.deploy.serve.limits import Limits, Refusal
from spacy_xner.deploy.serve.metrics import CONTENT_TYPE, Metrics
from spacy_xner.deploy.serve.query import JSON, Query, check_media_type, parse_query, read_body
from spacy_xner.errors import Errors
from spacy_xner.pages import render

FOLDER = Path(__file__).parent
FILES = {"page.js": "text/javascript", "page.css": "text/css"}
# The page runs its script and asks this service, and nothing else.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(nlp: Language, limits: Limits | None = None) -> FastAPI:
    """Build the application around a loaded pipeline, which nothing else may use meanwhile."""
    limits, metrics = limits or Limits(), Metrics()
    batcher = Batcher(nlp, limits, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        # In a thread: the answers of the last batch need the event loop.
        await asyncio.to_thread(batcher.close)

    # The pages of FastAPI's own documentation would load scripts from elsewhere.
    app = FastAPI(title="spacy_xner", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.batcher, app.state.metrics = batcher, metrics
    app.exception_handler(HTTPException)(_refuse_route)

    schema = {"requestBody": {"required": True, "content": {JSON: {"schema": Query.model_json_schema()}}}}

    @app.post("/entities", openapi_extra=schema)
    async def entities(request: Request) -> Response:
        """Find the entities of texts."""
        start = time.perf_counter()
        response = await _respond(request, batcher)
        metrics.count_request(response.status_code, time.perf_counter() - start)
        return response

    @app.get("/health")
    async def health() -> Response:
        """Say whether requests are answered."""
        return _json({"status": "ok" if batcher.is_alive else "closing"}, 200 if batcher.is_alive else 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        """Write counters as Prometheus reads them."""
        return _reply(metrics.render(batcher.n_waiting), CONTENT_TYPE)

    _add_page(app, nlp, limits)
    return app


def _add_page(app: FastAPI, nlp: Language, limits: Limits) -> None:
    meta = {key: str(nlp.meta.get(key) or "") for key in ("name", "version", "description")}
    page = str(render("page.html.jinja", FOLDER, meta=meta, n_characters=limits.max_characters))
    contents = {name: (FOLDER / name).read_bytes() for name in FILES}

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return _reply(page, "text/html")

    @app.get("/{name}", include_in_schema=False)
    async def show_file(name: str) -> Response:
        if name not in contents:
            raise HTTPException(404)
        return _reply(contents[name], FILES[name])


async def _respond(request: Request, batcher: Batcher) -> Response:
    limits = batcher.limits
    try:
        check_media_type(request.headers.get("content-type", ""))
        answer = await asyncio.wait_for(_ask(request, batcher), limits.timeout)
    except asyncio.TimeoutError:
        return _refuse(Refusal(504, Errors.XNER725.format(seconds=limits.timeout)))
    except Refusal as refusal:
        return _refuse(refusal)
    return _json({"results": answer})


async def _ask(request: Request, batcher: Batcher) -> Answer:
    """Wait for the answer of a request. Cancelling takes its texts out of the queue."""
    length = request.headers.get("content-length")
    body = await read_body(request.stream(), length, batcher.limits)
    texts, query = parse_query(body, batcher.limits)
    if not texts:
        return []
    answer = await asyncio.wrap_future(batcher.submit(texts, query.language))
    return [{**row, "ents": _surest(row["ents"], query.threshold)} for row in answer]


def _surest(ents: list[dict[str, Any]], threshold: float) -> list[dict[str, Any]]:
    return [ent for ent in ents if ent["score"] is None or ent["score"] >= threshold]


def _json(content: Any, status: int = 200) -> Response:
    return _reply(json.dumps(content, ensure_ascii=False), JSON, status)


def _reply(content: str | bytes, media_type: str, status: int = 200) -> Response:
    return Response(content, status, HEADERS, media_type)


def _refuse(refusal: Refusal) -> Response:
    text = str(refusal)
    code = text.partition("]")[0].strip("[")
    response = _json({"error": {"code": code, "message": text}}, refusal.status)
    if refusal.status == 503:
        response.headers["Retry-After"] = "1"
    return response


async def _refuse_route(request: Request, error: Exception) -> Response:
    """Answer to paths and methods that are none of this service."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _refuse(Refusal(status, Errors.XNER729.format(status=status)))
