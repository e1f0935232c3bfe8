"""YAML text -> a plain tree of dict, list and scalars, with the line of every path.

The only module that imports yaml, so it is imported only when there is text to parse. Scalars follow YAML
1.2's core schema, keys are always text, and the size and depth of the tree are limited, against aliases that
multiply or refer to themselves and against deep nesting.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

import yaml
from msgspec import Struct, field
from yaml.events import CollectionEndEvent, CollectionStartEvent, Event, NodeEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from llmfail.settings.reading.plain_values import Place, parse_scalar

try:
    from yaml import CBaseLoader as _Base
except ImportError:  # pragma: no cover - PyYAML without libyaml
    from yaml import BaseLoader as _Base  # type: ignore[assignment]

MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 40
_TOO_DEEP: Final = f"is nested more than {MAX_DEPTH} levels deep"
_DEPTH_CHANGE_OF_BRACKET: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
OPENING_MARK, CLOSING_MARK = "\U0010fffe", "\U0010ffff"
"""They stand for ``${`` and ``}`` while YAML is parsed: two code points that are no characters."""
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?::-[^{}'\"\n]*)?)\}")
PLAIN_TAG: Final = "!plain"
TEXT_TAG: Final = "tag:yaml.org,2002:str"
SCALAR_TAGS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")) | {
    PLAIN_TAG
}


class UnreadableYaml(ValueError):
    """The text gives no tree at all. ``line`` is counted from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(message)


class _Loader(_Base):
    """A loader that tells plain scalars from quoted ones."""


_Loader.add_implicit_resolver(PLAIN_TAG, re.compile("", re.DOTALL), None)


class YamlDocument(Struct):
    """A parsed text. ``problems`` are those that do not prevent the rest from being read."""

    tree: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    nodes: int = 0


def parse(text: str) -> YamlDocument:
    """Raises UnreadableYaml, in one line for people."""
    document = YamlDocument()
    text = _shield_references(text)
    try:
        _check_limits(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _explain_yaml_error(error, text) from None
    if node is not None:
        document.tree = _convert(document, node, ())
    return document


def _shield_references(text: str) -> str:
    """References as plain text, so that they may also stand between { and }, where a brace would end a
    scalar: ``{api: gemini, api_key: ${GOOGLE_API_KEY}}``.
    """
    return _REFERENCE.sub(rf"{OPENING_MARK}\1{CLOSING_MARK}", text)


def _unshield_references(node: Node) -> str:
    return str(node.value).replace(OPENING_MARK, "${").replace(CLOSING_MARK, "}")


def _check_limits(text: str) -> None:
    """Refuse what is too deep or too large before it is composed: libyaml's composer recurses on the C stack,
    and a file of brackets would crash the process.
    """
    depth = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        values += isinstance(event, NodeEvent)
        if depth > MAX_DEPTH:
            raise UnreadableYaml(_TOO_DEEP, _line_of(event))
        if values > MAX_NODES:
            raise UnreadableYaml(f"has more than {MAX_NODES:,} values", _line_of(event))


def _explain_yaml_error(error: yaml.YAMLError, text: str) -> UnreadableYaml:
    """The C parser has its own depth limit, and may reach it before the first event."""
    if (
        max(accumulate(_DEPTH_CHANGE_OF_BRACKET.get(character, 0) for character in text), default=0)
        > MAX_DEPTH
    ):
        return UnreadableYaml(_TOO_DEEP)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "is not YAML"
    if "single document" in str(getattr(error, "context", "")):
        problem = "holds several documents; a configuration is a single one"
    mark = getattr(error, "problem_mark", None)
    return UnreadableYaml(f"is not valid YAML: {problem}", mark.line + 1 if mark else None)


def _convert(document: YamlDocument, node: Node, at: Place) -> object:
    _count_node(document, node, len(at))
    document.lines.setdefault(at, _line_of(node))
    match node:
        case MappingNode():
            return _convert_mapping(document, node, at)
        case SequenceNode():
            return [_convert(document, item, (*at, index)) for index, item in enumerate(node.value)]
        case _:
            return _convert_scalar(document, node, at)


def _count_node(document: YamlDocument, node: Node, depth: int) -> None:
    """Aliases make a small text large: an alias is followed each time, and may refer to itself."""
    document.nodes += 1
    if document.nodes > MAX_NODES:
        raise UnreadableYaml(f"grows beyond {MAX_NODES:,} values by its aliases", _line_of(node))
    if depth > MAX_DEPTH:
        raise UnreadableYaml(_TOO_DEEP, _line_of(node))


def _line_of(node: Node | Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _convert_scalar(document: YamlDocument, node: Node, at: Place) -> object:
    text = _unshield_references(node)
    if node.tag in SCALAR_TAGS:
        return parse_scalar(text)
    if node.tag != TEXT_TAG:
        document.problems.append((at, f"the tag {node.tag!r} is not supported"))
    return text


def _convert_mapping(document: YamlDocument, node: Node, at: Place, depth: int = 0) -> dict[str, object]:
    """A key that is written out replaces a merged one, so merges come first; ``depth`` counts them."""
    merged: dict[str, object] = {}
    own: dict[str, object] = {}
    for key, value in node.value:
        if _is_merge_key(key):
            merged = _merge_sources(document, value, at, depth) | merged
    for key, value in node.value:
        if not _is_merge_key(key):
            _add_entry(document, own, key, value, at)
    return merged | own


def _add_entry(document: YamlDocument, own: dict[str, object], key: Node, value: Node, at: Place) -> None:
    line = _line_of(key)
    if not isinstance(key, ScalarNode):
        document.lines[(*at, "?")] = line
        document.problems.append(((*at, "?"), "a key is plain text, not a list or a mapping"))
        return
    name = _unshield_references(key)
    place = (*at, name)
    if name in own:
        first = document.lines[place]
        document.lines[place] = line
        document.problems.append((place, f"is already set on line {first}"))
        return
    document.lines[place] = line
    own[name] = _convert(document, value, place)


def _is_merge_key(key: Node) -> bool:
    return key.tag == PLAIN_TAG and key.value == "<<"


def _merge_sources(document: YamlDocument, node: Node, at: Place, depth: int) -> dict[str, object]:
    sources = node.value if isinstance(node, SequenceNode) else [node]
    merged: dict[str, object] = {}
    for source in sources:
        if isinstance(source, MappingNode):
            _count_node(document, source, depth)
            merged = _convert_mapping(document, source, at, depth + 1) | merged
        else:
            document.problems.append((at, "<< merges mappings only"))
    return merged
