"""Limits of the service, and what a request is told that goes beyond one."""

from dataclasses import dataclass, fields

from spacy_xner.errors import Errors, XnerError


@dataclass(frozen=True)
class Limits:
    """How much the service takes at once.

    batch_size: Texts that the pipeline reads together.
    wait: Seconds that a batch which is not full waits for more texts.
    max_texts: Texts a request.
    max_characters: Characters of all texts of a request.
    max_bytes: Bytes of a request's body.
    max_waiting: Texts of all requests that wait for the pipeline.
    timeout: Seconds until a request is given up.
    """

    batch_size: int = 64
    wait: float = 0.003
    max_texts: int = 64
    max_characters: int = 100_000
    max_bytes: int = 1_000_000
    max_waiting: int = 1024
    timeout: float = 30.0

    def __post_init__(self) -> None:
        """RAISES: XNER728 for a limit that lets nothing through."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value > 0 or (field.name == "wait" and value == 0)):
                raise XnerError(Errors.XNER728.format(setting=field.name, value=value))


class Refusal(XnerError):
    """A coded error with the HTTP status of its answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
