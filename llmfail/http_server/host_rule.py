"""Who may ask a server, by what a browser cannot hide: a name in the Host header that is not this machine's
may be the trick of a page (DNS rebinding), and an Origin is a page. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from msgspec import Struct

from llmfail.core.loopback import is_loopback

SIMPLE_TYPES = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
"""What any page may post anywhere, without asking."""


class HostRule(Struct, frozen=True):
    """``hosts`` are names that are served besides those of this machine; ``origins`` the pages that may ask;
    ``listens_to_all``: other machines may connect, by an address.
    """

    listens_to_all: bool = False
    hosts: Collection[str] = ()
    origins: Collection[str] = ()

    def may_ask(self, host: str | None, origin: str | None) -> bool:
        return self.is_served(host) and (origin is None or origin in self.origins)

    def is_served(self, host: str | None) -> bool:
        """Whether a page elsewhere cannot have made a browser send this Host header."""
        if not host:
            return False
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.removeprefix("[").removesuffix("]").lower()
        if is_loopback(name) or name in self.hosts:
            return True
        return self.listens_to_all and _is_address(name)


def is_simple_type(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in SIMPLE_TYPES


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
