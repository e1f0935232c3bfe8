"""What ``store:`` may say: the files of this host, memory, or a Redis that many hosts share.

``redis://[user:password@]host[:port][,host…]/db[?name=NAMESPACE&wait=N]``, ``rediss://`` with TLS, and
``sentinel://host[:port],…/db?master=NAME``.
"""

from __future__ import annotations

import re

from msgspec import Struct

EXPECTED = "disk, memory, redis://host:port/db, rediss:// or sentinel://host:port,host:port/db?master=NAME"
_URL = re.compile(
    r"(?P<scheme>rediss?|sentinel)://(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<hosts>[^/?#@]+)(?:/(?P<db>\d{0,5}))?(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(?::(\d{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379}
_LAST_PORT = 65535
LOCAL_STORES = frozenset({"disk", "memory"})


class ServerAddress(Struct, frozen=True):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisUrl(Struct, frozen=True):
    """A Redis, as it is reached. ``endpoints`` are its servers, or those of Sentinel, which knows the server
    called ``master``. ``namespace`` keeps its records apart from those of others in the same Redis.
    ``replicas``: so many have to have a write before it counts. ``str`` shows no password.
    """

    scheme: str
    endpoints: tuple[ServerAddress, ...]
    user: str = ""
    password: str = ""
    db: int = 0
    namespace: str = "default"
    replicas: int = 0
    master: str = ""

    @property
    def is_encrypted(self) -> bool:
        return self.scheme == "rediss"

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(map(str, self.endpoints))}/{self.db}"

    __repr__ = __str__


def parse_redis_url(text: str) -> RedisUrl:
    """Raises ValueError with a text that shows no password."""
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(f"expected {EXPECTED}")
    scheme = found["scheme"]
    options = _parse_query(found["query"] or "", scheme)
    return RedisUrl(
        scheme=scheme,
        endpoints=tuple(_parse_endpoint(host, _DEFAULT_PORTS[scheme]) for host in found["hosts"].split(",")),
        user=_unquote(found["user"] or ""),
        password=_unquote(found["password"] or ""),
        db=int(found["db"] or 0),
        namespace=options.get("name", "default"),
        replicas=int(options.get("wait", 0)),
        master=options.get("master", ""),
    )


def _parse_query(query: str, scheme: str) -> dict[str, str]:
    known = {"name", "wait"} | ({"master"} if scheme == "sentinel" else set())
    options = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in known:
            raise ValueError(f"{scheme}:// knows no option {key!r}; known are {', '.join(sorted(known))}")
        options[key] = _unquote(value)
    if "name" in options and not _NAME.fullmatch(options["name"]):
        raise ValueError("?name= is a name of up to 64 letters, digits, dots, dashes and underscores")
    if not re.fullmatch(r"[0-9]", options.get("wait", "0")):
        raise ValueError("?wait= is the number of replicas that have to have a write, 0 to 9")
    if scheme == "sentinel" and not options.get("master"):
        raise ValueError("sentinel:// needs ?master= with the name that Sentinel gives to the server")
    return options


def _parse_endpoint(text: str, default_port: int) -> ServerAddress:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found[2] or default_port) <= _LAST_PORT:
        raise ValueError(f"its host is not written host:port; expected {EXPECTED}")  # it may hold a password
    return ServerAddress(found[1].strip("[]"), int(found[2] or default_port))


def _unquote(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)
