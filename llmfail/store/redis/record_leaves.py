"""A record as leaves: the integers and texts in its JSON text, each by its path, so that many hosts can add
to one record at the same moment. Pure.

A list is one text, and a mapping without anything in it is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.core.records.joint_write import ADDITION, Raise, Sum

Fields = Mapping[str, Any]
Leaves = Mapping[str, str]
"""By path (``/holds/1700000000/amount``): decimal digits, or ``=`` and the JSON of anything else."""
Change = tuple[str, Any, Any]
"""The path of a leaf, what it was and what it is."""
Patterns = tuple[str, ...]
_LARGEST = 2**62
MISSING: Any = object()
"""Stands for a leaf that is not there; None is a value."""
MAX_KNOWN_PATHS = 1000
_DISCARDED = "discarded"
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Additions(Struct):
    """What a write changes about a record: the paths of what it adds to integers, and ``added``; then those
    of ``others``, three texts for each. ``total`` is what it adds to the sum that has a limit. ``adds_only``:
    who has only read the record need not look again.

    The three are an operation, a value and what was before; an empty text is no leaf. 0 adds, and removes a
    leaf that is 0 then; = replaces, also where another has done so, and ? only what is still there; ~ does
    it only then and is no mismatch else; ! puts it there, whatever it was; > raises by the value, with the
    bounds in what was before.
    """

    added_paths: list[str]
    added: list[str]
    other_paths: list[str]
    others: list[str]
    total: int = 0
    adds_only: bool = True


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
    rules = None if how is ADDITION else _leaf_rules(how.fixed, how.optional, how.latest, how.discarded)
    limited = _leaf_rules(how.limited) if how.limited else None
    raised = {f"/{one.leaf}": one for one in how.raised} if how.raised else {}
    found = Additions([], [], [], [])
    for path, before, after in _find_changes("", old, new, []):
        if path in raised:
            continue
        if limited is not None and limited[path]:
            found.total += _count(after) - _count(before)
        operation = rules[path] if rules is not None else ""
        if operation == _DISCARDED:
            operation = "!" if after is MISSING else ""
        more = None if operation else _subtract(after, before)
        if more is None:
            found.other_paths.append(path)
            found.others += (operation or "=", _encode_leaf(after), _encode_leaf(before))
            found.adds_only = found.adds_only and operation == "!"
        elif after is MISSING:
            found.other_paths.append(path)
            found.others += ("0", str(more), "")
        else:
            found.added_paths.append(path)
            found.added.append(str(more))
    for path, one in raised.items():
        found.other_paths.append(path)
        found.others += _raise(one)
    return found


def add_up(fields: Fields, how: Sum) -> int:
    """The sum of a record that has a limit."""
    return sum(_count(value) for _, value in _find_all(fields, how.limited))


def _find_changes(path: str, old: Fields, new: Fields, found: list[Change]) -> list[Change]:
    """Each leaf that is not the same in both; MISSING where there is none."""
    pairs: Iterable[Change]
    if [*old] == [*new]:
        pairs = zip(new, old.values(), new.values(), strict=True)
    else:
        pairs = [(name, old.get(name, MISSING), new.get(name, MISSING)) for name in {**new, **old}]
    for name, before, after in pairs:
        if before is after or (before == after and type(before) is type(after)):
            continue
        at = f"{path}/{_escape(name)}"
        if type(after) is not dict and type(before) is not dict:
            found.append((at, before, after))
        elif type(after) is type(before):
            _find_changes(at, before, after, found)
        else:
            found += [(leaf, value, MISSING) for leaf, value in _walk(at, before) if value is not MISSING]
            found += [(leaf, MISSING, value) for leaf, value in _walk(at, after) if value is not MISSING]
    return found


class _LeafRules(dict[str, str]):
    """The operation that patterns name for each path, which is looked up once; empty where they name none."""

    def __init__(self, patterns: Mapping[str, Patterns]) -> None:
        super().__init__()
        self._patterns = patterns

    def __missing__(self, path: str) -> str:
        if len(self) >= MAX_KNOWN_PATHS:
            self.clear()
        matches = (operation for operation, some in self._patterns.items() if _is_one_of(path, some))
        self[path] = operation = next(matches, "")
        return operation


@lru_cache(maxsize=100)
def _leaf_rules(
    fixed: Patterns, optional: Patterns = (), latest: Patterns = (), discarded: Patterns = ()
) -> _LeafRules:
    return _LeafRules({"?": fixed, "~": optional, "!": latest, _DISCARDED: discarded})


def _subtract(after: Any, before: Any) -> int | None:  # noqa: ANN401 - of JSON
    """None unless both are counts; what is missing is 0."""
    after = 0 if after is MISSING else after
    before = 0 if before is MISSING else before
    if type(after) is int and type(before) is int and abs(after) < _LARGEST and abs(before) < _LARGEST:
        return after - before
    return None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _encode_leaf(value: object) -> str:
    if value is MISSING:
        return ""
    if type(value) is int and abs(value) < _LARGEST:
        return str(value)
    return f"={_encode(value).decode()}"


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


def _raise(how: Raise) -> tuple[str, str, str]:
    floor, ceiling = (repr(bound) if math.isfinite(bound) else "" for bound in (how.floor, how.ceiling))
    return ">", repr(how.added), f"{floor}:{ceiling}"


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - of JSON
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(f"{path}/{_escape(name)}", inner)
    else:
        yield path, value


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1") if "/" in name or "~" in name else name


def _unescape(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")
