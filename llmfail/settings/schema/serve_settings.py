"""The section ``serve`` of the configuration: where the gateway listens, who may ask there, and what a
program's ``model`` means.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from msgspec import Struct, field

from llmfail.settings.schema.provider_types import RateLimits
from llmfail.settings.schema.scalars import DERIVED, Bytes, Count, Flag, Name, Seconds, Text
from llmfail.settings.schema.secret_values import ApiKey
from llmfail.settings.schema.serve_scalars import (
    Day,
    HostName,
    ListenAddress,
    ModelOrTarget,
    ModelPattern,
    Sha256,
    WebOrigin,
)


class ServeKey(Struct, frozen=True, kw_only=True):
    """With which a program may ask, as its text or as the SHA-256 of it. Without ``features`` it may ask
    whatever is configured. One whose variable is not set lets nobody in.
    """

    name: Name
    key: ApiKey | None = None
    sha256: Sha256 | None = None
    features: tuple[Name, ...] = ()
    limits: RateLimits = field(default_factory=RateLimits)
    expires: Day | None = None
    may_name_users: Flag = False
    written: Annotated[int, DERIVED] = 0
    """How many of ``key`` and ``sha256`` the file has."""

    @staticmethod
    def derive(_name: str, written: Mapping[str, object]) -> dict[str, object]:
        return {"written": len({"key", "sha256"} & written.keys())}

    def has_expired(self, today: date) -> bool:
        """Its last day is the one that it names."""
        return self.expires is not None and today > self.expires


class ServeTls(Struct, frozen=True, kw_only=True):
    """Files in PEM: the certificate, with those that vouch for it, and its key."""

    certificate: Text
    key: Text


class ServeSettings(Struct, frozen=True, kw_only=True):
    """``models``: what a program's ``model`` means, a feature or a target; ``*`` stands for anything.
    ``user_from``: whose budget an ask goes on: the key's, or whom a header or the body names, for keys that
    may name users.
    """

    listen: ListenAddress = "127.0.0.1:4000"
    workers: Count = 1
    hosts: tuple[HostName, ...] = ()
    origins: tuple[WebOrigin, ...] = ()
    models: Mapping[ModelPattern, ModelOrTarget] = field(default_factory=dict)
    unknown_model: Name = "refuse"
    keys: tuple[ServeKey, ...] = ()
    user_from: Literal["key", "header", "body"] = "key"
    max_inflight: Count = 1000
    max_connections: Count = 4096
    max_body: Bytes = 32_000_000
    shutdown_grace: Seconds = 120.0
    admin_token: ApiKey | None = None
    log: Text | None = None
    behind_proxy: Flag = False
    tls: ServeTls | None = None
