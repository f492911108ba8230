"""The body of a request: read within limits, and checked before a text reaches the pipeline."""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spacy_xner.attributes import normal_language
from spacy_xner.deploy.serve.limits import Limits, Refusal
from spacy_xner.errors import Errors, XnerError

JSON = "application/json"


class Query(BaseModel):
    """A question to the service: one text, or several.

    language: The language of all texts, for pipelines that need not find it out themselves.
    threshold: Entities with a lower probability are left out; those without a probability stay.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    text: str | None = None
    texts: list[str] | None = None
    language: str | None = None
    threshold: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] = 0.0


def parse_query(body: bytes, limits: Limits) -> tuple[list[str], Query]:
    """Read a body.

    RETURNS: The texts, and the query with a normal language.
    RAISES: XNER722 for what is no query, XNER723 for too many texts or characters, XNER350.
    """
    try:
        query = Query.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise Refusal(422, Errors.XNER722.format(reason=f"{place}: {first['msg']}")) from None
    if (query.text is None) == (query.texts is None):
        raise Refusal(422, Errors.XNER722.format(reason="either text or texts is needed"))
    texts = [query.text] if query.text is not None else query.texts or []
    for n, limit, unit in (
        (len(texts), limits.max_texts, "texts"),
        (sum(map(len, texts)), limits.max_characters, "characters"),
    ):
        if n > limit:
            raise Refusal(413, Errors.XNER723.format(n=n, limit=limit, unit=unit))
    if query.language is not None:
        try:
            query.language = normal_language(query.language)
        except XnerError as error:
            raise Refusal(422, str(error)) from None
    return texts, query


async def read_body(chunks: AsyncIterator[bytes], length: str | None, limits: Limits) -> bytes:
    """Read a body as far as the limit. length: The header of that name. RAISES: XNER721."""
    if length is not None and length.isascii() and length.isdigit() and int(length[:20]) > limits.max_bytes:
        raise Refusal(413, Errors.XNER721.format(limit=limits.max_bytes))
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limits.max_bytes:
            raise Refusal(413, Errors.XNER721.format(limit=limits.max_bytes))
    return bytes(body)


def check_media_type(header: str) -> None:
    """Refuse other bodies than JSON, which pages of other sites could send. RAISES: XNER722."""
    if header.partition(";")[0].strip().lower() != JSON:
        raise Refusal(415, Errors.XNER722.format(reason=f"the header Content-Type must be {JSON}"))
