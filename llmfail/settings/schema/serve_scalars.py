"""The kinds of scalar that only the section ``serve`` has: addresses, origins, patterns of models, days."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Final

from llmfail.core.model import Target
from llmfail.settings.schema.scalars import HOST_PATTERN, Scalar, parse_target, parse_text, text_matching

UNIX_PREFIX: Final = "unix:"


def split_address(text: str) -> tuple[str, int] | None:
    """Host and port of ``127.0.0.1:4000``, ``[::1]:4000`` or ``:4000``, which is loopback; None for anything
    else.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    is_port = port.isascii() and port.isdigit() and int(port) < 65536
    return (host, int(port)) if colon and is_port and re.fullmatch(r"[A-Za-z0-9.:%_-]+", host) else None


def _parse_listen_address(value: object) -> str:
    text = parse_text(value)
    if not text.startswith(f"{UNIX_PREFIX}/") and split_address(text) is None:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:4000, or unix:/run/llmfail.sock")
    return text


def _parse_model_or_target(value: object) -> Target | str:
    text = parse_text(value)
    return parse_target(text) if "/" in text else text


def _parse_day(value: object) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(parse_text(value))
    except ValueError:
        raise ValueError("expected a day such as 2027-12-31") from None


ListenAddress = Annotated[str, Scalar(_parse_listen_address, {"type": "string"}, text=True)]
HostName = Annotated[str, text_matching(HOST_PATTERN, "the name of a host, without a port")]
WebOrigin = Annotated[
    str,
    text_matching(
        rf"https?://(?:{HOST_PATTERN})(?::[0-9]{{1,5}})?", "an origin, such as https://app.example"
    ),
]
ModelPattern = Annotated[
    str, text_matching(r"[!-~]{1,256}", "the name of a model, in which * stands for anything")
]
ModelOrTarget = Annotated[Target | str, Scalar(_parse_model_or_target, {"type": "string"}, text=True)]
Sha256 = Annotated[
    str, text_matching(r"[0-9a-f]{64}", "the SHA-256 of a key as `llmfail keys new` prints it")
]
Day = Annotated[date, Scalar(_parse_day, {"type": "string", "format": "date"}, text=True)]
