"""A record as leaves: the integers and texts in its JSON text, each by its path, so that many hosts can add
to one record at the same moment. Pure.

A list is one text, and a mapping without anything in it is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from llmfail.core.records.joint_write import Raise, Sum

Fields = Mapping[str, Any]
Leaves = Mapping[str, bytes]
"""By path (``/holds/1700000000/amount``): decimal digits, or ``=`` and the JSON of anything else."""
_LARGEST = 2**62
MISSING: Any = object()
"""Stands for a leaf that is not there; None is a value."""
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class LeafChange(NamedTuple):
    """``operation``: + adds, 0 adds and removes a leaf that is 0 then; = replaces ``before`` by ``value``,
    also where another has done so, and ? only if it is still there; ~ does it only then and is no mismatch
    else; ! puts ``value`` there, whatever it was; > raises by ``value``, with the bounds in ``before``. An
    empty value is no leaf.
    """

    operation: str
    path: str
    value: bytes
    before: bytes = b""


class Additions(NamedTuple):
    """What a write changes about a record; ``total`` is what it adds to the sum that has a limit."""

    changes: Sequence[LeafChange]
    total: int | None

    @property
    def adds_only(self) -> bool:
        """Whether who has only read the record need not look again."""
        return not any(one.operation in "=?~" and one.value != one.before for one in self.changes)


def load_record(text: str) -> Fields | None:
    """The fields of a record; None for a text that is no record."""
    try:
        fields = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and fields else None


def flatten(fields: Fields) -> Leaves:
    return {path: _encode_leaf(value) for path, value in _walk("", fields)}


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


def compare(old: Fields, new: Fields, how: Sum) -> Additions:
    """What leads from one record to the other."""
    raised = {f"/{one.leaf}": one for one in how.raised}
    changed = {path: pair for path, pair in _walk_changes("", old, new) if path not in raised}
    changes = [_change_leaf(path, *pair, how) for path, pair in changed.items()]
    changes += [_raise(path, one) for path, one in raised.items()]
    limited = [pair for path, pair in changed.items() if _is_one_of(path, how.limited)]
    total = sum(_count(new) - _count(old) for old, new in limited) if how.limited else None
    return Additions(changes, total)


def add_up(fields: Fields, how: Sum) -> int:
    """The sum of a record that has a limit."""
    return sum(_count(value) for _, value in _find_all(fields, how.limited))


def _walk_changes(path: str, old: Fields, new: Fields) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Each leaf that is not the same in both, as it was and as it is; MISSING where there is none."""
    for name, after in new.items():
        before = old.get(name, MISSING)
        if before == after and type(before) is type(after):
            continue
        at = f"{path}/{_escape(name)}"
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _walk_changes(at, before, after)
        elif isinstance(before, dict) or isinstance(after, dict):
            yield from ((leaf, (value, MISSING)) for leaf, value in _walk(at, before) if leaf != at)
            yield from ((leaf, (MISSING, value)) for leaf, value in _walk(at, after) if leaf != at)
            if not isinstance(before, dict) and before is not MISSING:
                yield at, (before, MISSING)
            elif not isinstance(after, dict):
                yield at, (MISSING, after)
        else:
            yield at, (before, after)
    if len(old) + len(new) != 2 * len(new) or old.keys() != new.keys():
        for name in old.keys() - new.keys():
            for leaf, value in _walk(f"{path}/{_escape(name)}", old[name]):
                yield leaf, (value, MISSING)


def _change_leaf(path: str, old: object, new: object, how: Sum) -> LeafChange:
    operation = _find_operation(path, how, is_gone=new is MISSING)
    if operation is None and not (_is_count(old) and _is_count(new)):
        operation = "="
    if operation is not None:
        return LeafChange(operation, path, _encode_leaf(new), _encode_leaf(old))
    return LeafChange("0" if new is MISSING else "+", path, b"%d" % (_count(new) - _count(old)))


def _is_count(value: object) -> bool:
    return value is MISSING or (type(value) is int and abs(value) < _LARGEST)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _encode_leaf(value: object) -> bytes:
    if value is MISSING:
        return b""
    if type(value) is int and abs(value) < _LARGEST:
        return b"%d" % value
    return b"=" + _encode(value)


def _find_operation(path: str, how: Sum, *, is_gone: bool) -> str | None:
    """Of a leaf that is neither a count nor a text of its own."""
    for operation, patterns in (("?", how.fixed), ("~", how.optional), ("!", how.latest)):
        if _is_one_of(path, patterns):
            return operation
    return "!" if is_gone and _is_one_of(path, how.discarded) else None


def _is_one_of(path: str, patterns: Sequence[str]) -> bool:
    for pattern in patterns:
        if pattern == path[1:]:
            return True
        if "*" in pattern:
            wanted, names = pattern.split("/"), path[1:].split("/")
            if len(wanted) == len(names) and all(a in {"*", b} for a, b in zip(wanted, names, strict=True)):
                return True
    return False


def _find_all(fields: Fields, patterns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The leaves whose path is one of the patterns."""
    for pattern in patterns:
        yield from _find("", fields, pattern.split("/"))


def _find(path: str, value: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of JSON
    if not names:
        yield from _walk(path, value)
    elif isinstance(value, dict):
        for name in value if names[0] == "*" else (names[0],):
            if name in value:
                yield from _find(f"{path}/{_escape(name)}", value[name], names[1:])


def _raise(path: str, how: Raise) -> LeafChange:
    bounds = (format(bound, ".17g") if math.isfinite(bound) else "" for bound in (how.floor, how.ceiling))
    return LeafChange(">", path, format(how.added, ".17g").encode(), ":".join(bounds).encode())


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of JSON
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(f"{path}/{_escape(name)}", inner)
    else:
        yield path, value


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescape(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")
