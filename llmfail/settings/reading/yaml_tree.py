"""YAML text -> a plain tree of dict, list and scalars, with the line of every path.

The only module that imports yaml, so it is imported only when there is text to parse. Scalars follow YAML
1.2's core schema, keys are always text, and the tree is bounded: neither a bomb of aliases nor deep nesting
nor an alias to itself gets further than this module.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

import yaml
from msgspec import Struct, field
from yaml.events import CollectionEndEvent, CollectionStartEvent, Event, NodeEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from llmfail.settings.reading.plain_values import Place, scalar

try:
    from yaml import CBaseLoader as _Base
except ImportError:  # pragma: no cover - PyYAML without libyaml
    from yaml import BaseLoader as _Base  # type: ignore[assignment]

NODES: Final = 20_000
DEPTH: Final = 40
_TOO_DEEP: Final = f"is nested more than {DEPTH} levels deep"
_BRACKETS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
OPEN, CLOSE = "\U0010fffe", "\U0010ffff"
"""What stands for ``${`` and ``}`` while YAML is parsed: two code points that are no characters."""
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?::-[^{}'\"\n]*)?)\}")
PLAIN: Final = "!plain"
TEXT: Final = "tag:yaml.org,2002:str"
SCALARS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")) | {PLAIN}


class Unreadable(ValueError):
    """No tree can be had from the text at all. ``line`` is counted from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(message)


class _Loader(_Base):
    """Tells plain scalars from quoted ones, which is all that is needed to type them."""


_Loader.add_implicit_resolver(PLAIN, re.compile("", re.DOTALL), None)


class Document(Struct):
    """What a text says. ``problems`` are those that keep nothing else from being read."""

    tree: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    nodes: int = 0


def parse(text: str) -> Document:
    """Raises Unreadable, with one line for people."""
    document = Document()
    text = _shielded(text)
    try:
        _survey(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _unreadable(error, text) from None
    if node is not None:
        document.tree = _walk(document, node, ())
    return document


def _shielded(text: str) -> str:
    """References as plain text also between { and }, where braces would end a scalar:
    ``{api: gemini, api_key: ${GOOGLE_API_KEY}}``.
    """
    return _REFERENCE.sub(rf"{OPEN}\1{CLOSE}", text)


def _unshielded(node: Node) -> str:
    return str(node.value).replace(OPEN, "${").replace(CLOSE, "}")


def _survey(text: str) -> None:
    """Refuse what is too deep or too much before it is composed: libyaml's composer recurses on the C stack,
    and a file of brackets would end the process.
    """
    depth = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        values += isinstance(event, NodeEvent)
        if depth > DEPTH:
            raise Unreadable(_TOO_DEEP, _line(event))
        if values > NODES:
            raise Unreadable(f"has more than {NODES:,} values", _line(event))


def _unreadable(error: yaml.YAMLError, text: str) -> Unreadable:
    """The C parser has a depth limit of its own, and may meet it before the first event."""
    if max(accumulate(_BRACKETS.get(character, 0) for character in text), default=0) > DEPTH:
        return Unreadable(_TOO_DEEP)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "is not YAML"
    if "single document" in str(getattr(error, "context", "")):
        problem = "holds several documents; a configuration is one"
    mark = getattr(error, "problem_mark", None)
    return Unreadable(f"is not valid YAML: {problem}", mark.line + 1 if mark else None)


def _walk(document: Document, node: Node, at: Place) -> object:
    _enter(document, node, len(at))
    document.lines.setdefault(at, _line(node))
    match node:
        case MappingNode():
            return _mapping(document, node, at)
        case SequenceNode():
            return [_walk(document, item, (*at, index)) for index, item in enumerate(node.value)]
        case _:
            return _scalar(document, node, at)


def _enter(document: Document, node: Node, depth: int) -> None:
    """Aliases make a small text large: an alias is walked each time, and may lead to itself."""
    document.nodes += 1
    if document.nodes > NODES:
        raise Unreadable(f"grows beyond {NODES:,} values by its aliases", _line(node))
    if depth > DEPTH:
        raise Unreadable(_TOO_DEEP, _line(node))


def _line(of: Node | Event) -> int:
    return of.start_mark.line + 1 if of.start_mark else 1


def _scalar(document: Document, node: Node, at: Place) -> object:
    text = _unshielded(node)
    if node.tag in SCALARS:
        return scalar(text)
    if node.tag != TEXT:
        document.problems.append((at, f"the tag {node.tag!r} means nothing here"))
    return text


def _mapping(document: Document, node: Node, at: Place, depth: int = 0) -> dict[str, object]:
    """Merge keys first, so that what is written out wins over what is merged. ``depth`` counts merges."""
    merged: dict[str, object] = {}
    own: dict[str, object] = {}
    for key, value in node.value:
        if _is_merge(key):
            merged = _merged(document, value, at, depth) | merged
    for key, value in node.value:
        if not _is_merge(key):
            _entry(document, own, key, value, at)
    return merged | own


def _entry(document: Document, own: dict[str, object], key: Node, value: Node, at: Place) -> None:
    line = _line(key)
    if not isinstance(key, ScalarNode):
        document.lines[(*at, "?")] = line
        document.problems.append(((*at, "?"), "a key is plain text, not a list or a mapping"))
        return
    name = _unshielded(key)
    place = (*at, name)
    if name in own:
        first = document.lines[place]
        document.lines[place] = line
        document.problems.append((place, f"is already set on line {first}"))
        return
    document.lines[place] = line
    own[name] = _walk(document, value, place)


def _is_merge(key: Node) -> bool:
    return key.tag == PLAIN and key.value == "<<"


def _merged(document: Document, node: Node, at: Place, depth: int) -> dict[str, object]:
    sources = node.value if isinstance(node, SequenceNode) else [node]
    merged: dict[str, object] = {}
    for source in sources:
        if isinstance(source, MappingNode):
            _enter(document, source, depth)
            merged = _mapping(document, source, at, depth + 1) | merged
        else:
            document.problems.append((at, "<< merges mappings only"))
    return merged
