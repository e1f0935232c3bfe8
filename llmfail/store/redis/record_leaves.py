"""A record as leaves: the integers and texts in its JSON text, each by its path, so that many hosts can add
to one record at the same moment. Pure.

A list is one text, and a mapping without anything in it is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from llmfail.core.records.record import Sum

Leaves = Mapping[str, bytes]
"""By path (``/holds/1700000000/amount``): decimal digits, or ``=`` and the JSON of anything else."""
_LARGEST = 2**62
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class LeafChange(NamedTuple):
    """``operation``: + adds, 0 adds and removes a leaf that is 0 then, = replaces ``before`` by ``value``, of
    which each may be empty: no leaf.
    """

    operation: str
    path: str
    value: bytes
    before: bytes = b""


class Additions(NamedTuple):
    """What a write changes about a record; ``total`` is what it adds to the sum that has a limit."""

    changes: Sequence[LeafChange]
    total: int | None


def flatten(text: str) -> Leaves | None:
    """The leaves of a record; None for a text that is no record."""
    try:
        fields = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return dict(_walk("", fields)) if isinstance(fields, dict) and fields else None


def build_text(leaves: Sequence[bytes]) -> str:
    """The record of a hash as the server gives it: names and values by turns."""
    fields: dict[str, Any] = {}
    for name, value in zip(leaves[::2], leaves[1::2], strict=True):
        if name[:1] == b"/":
            *parents, last = map(_unescape, name.decode().split("/")[1:])
            inner = fields
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = _decode(value[1:]) if value[:1] == b"=" else int(value)
    version = {"v": fields.pop("v")} if "v" in fields else {}
    return _encode({**version, **fields}).decode()


def compare(before: str, after: str, how: Sum) -> Additions | None:
    """What leads from one text to the other; None where that is not a change of leaves."""
    old, new = flatten(before), flatten(after)
    if old is None or new is None:
        return None
    fixed = [LeafChange("=", path, old[path], old[path]) for path in _select(old, how.fixed)]
    changes = [
        change for path in {**old, **new} if (change := _compare_leaf(path, old.get(path), new.get(path)))
    ]
    total = add_up(new, how) - add_up(old, how) if how.limited else None
    return Additions([*fixed, *changes], total)


def add_up(leaves: Leaves, how: Sum) -> int:
    """The sum that has a limit."""
    return sum(int(leaves[path]) for path in _select(leaves, how.limited))


def _compare_leaf(path: str, old: bytes | None, new: bytes | None) -> LeafChange | None:
    if old == new:
        return None
    is_number = not any(one is not None and one[:1] == b"=" for one in (old, new))
    if not is_number:
        return LeafChange("=", path, new or b"", old or b"")
    added = b"%d" % (int(new or 0) - int(old or 0))
    return LeafChange("0" if new is None else "+", path, added)


def _walk(path: str, value: object) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(f"{path}/{_escape(name)}", inner)
    elif type(value) is int and abs(value) < _LARGEST:
        yield path, b"%d" % value
    else:
        yield path, b"=" + _encode(value)


def _select(leaves: Leaves, patterns: Sequence[str]) -> Iterator[str]:
    """Those whose path is one of the patterns; a ``*`` stands for any name."""
    wanted = [pattern.split("/") for pattern in patterns]
    for path in leaves:
        names = path[1:].split("/")
        for pattern in wanted:
            if len(pattern) == len(names) and all(a in ("*", b) for a, b in zip(pattern, names, strict=True)):
                yield path


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescape(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")
