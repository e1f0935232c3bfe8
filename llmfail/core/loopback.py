"""Whether a host is this machine itself, which no other machine can reach."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """By its address, or the one name that always means it; never by how a name begins."""
    name = host.lower()
    if name == "localhost":
        return True
    from ipaddress import ip_address  # which takes a millisecond

    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
