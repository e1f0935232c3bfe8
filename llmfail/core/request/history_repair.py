"""A conversation as one wire takes it: turns, results of tools and ids in the form that it asks for.

What is valid already stays as it is. Rules, in this order: a system turn in the middle becomes a text of the
user where the wire has none; each call is followed by its result, and one without a result by an error;
turns of one side are one turn; a text behind a call moves before it; ids that the wire would refuse are
replaced, alike in call and result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.conversation import Dialect, Message, Part, Text, ToolCall, ToolResult

NO_RESULT = "no result: the tool was not run"
"""What a call is answered with that nobody answered."""


class HistoryRules(Struct, frozen=True):
    """What a wire asks of a conversation. ``id_pattern`` is what an id of a call must match;
    ``hashed_id_chars`` how long one is that is made in its place.
    """

    joins_turns: bool = False
    has_system_turns: bool = True
    puts_text_before_calls: bool = False
    id_pattern: str = r"[\x21-\x7e]{1,40}"
    id_prefix: str = "call_"
    hashed_id_chars: int = 24


RULES: Mapping[Dialect, HistoryRules] = {
    "anthropic": HistoryRules(
        joins_turns=True,
        has_system_turns=False,
        puts_text_before_calls=True,
        id_pattern="[a-zA-Z0-9_-]{1,64}",
    ),
    "chat": HistoryRules(),
    "responses": HistoryRules(id_pattern=r"[\x21-\x7e]{1,64}"),
    "gemini": HistoryRules(joins_turns=True, has_system_turns=False),
}
MISTRAL_RULES = HistoryRules(id_pattern="[a-zA-Z0-9]{9}", id_prefix="", hashed_id_chars=9)


def repair_history(messages: tuple[Message, ...], rules: HistoryRules) -> tuple[Message, ...]:
    """The same conversation for a wire with these rules."""
    turns: Iterable[Message] = messages
    if not rules.has_system_turns:
        turns = map(_speak_as_user, turns)
    turns = _pair_results(tuple(turns))
    if rules.joins_turns:
        turns = _join_turns(turns)
    if rules.puts_text_before_calls:
        turns = map(_put_text_first, turns)
    return tuple(_replace_ids(turn, rules) for turn in turns)


def _speak_as_user(message: Message) -> Message:
    if message.role != "system":
        return message
    return Message("user", f"<system>\n{message.text}\n</system>")


def _pair_results(messages: tuple[Message, ...]) -> Iterator[Message]:
    """Behind each turn with calls come their results, in the order of the calls, before what the user says.
    A result of a call that is not there is told as a text.
    """
    calls = {part.id: part for turn in messages for part in turn.parts if isinstance(part, ToolCall)}
    if not calls and not any(isinstance(part, ToolResult) for turn in messages for part in turn.parts):
        yield from messages
        return
    results = {part.call_id: part for turn in messages for part in turn.parts if isinstance(part, ToolResult)}
    pending: list[Part] = []
    for turn in messages:
        own = [part for part in turn.parts if isinstance(part, ToolCall)]
        rest = tuple(part for kept in turn.parts for part in _drop_paired(kept, calls))
        if pending and turn.role == "user":
            yield Message("user", (*pending, *rest), turn.marks)
            pending = []
            continue
        if pending:
            yield Message("user", tuple(pending))
        pending = [_find_result(call, results) for call in own]
        if rest or not turn.parts:
            yield turn if rest == turn.parts else replace(turn, content=rest)
    if pending:
        yield Message("user", tuple(pending))


def _drop_paired(part: Part, calls: Mapping[str, ToolCall]) -> tuple[Part, ...]:
    """Nothing for a result that is put behind its call."""
    if not isinstance(part, ToolResult):
        return (part,)
    if part.call_id in calls:
        return ()
    told = "\n".join(one.text for one in part.parts if isinstance(one, Text))
    return (Text(f"<tool_result>\n{told}\n</tool_result>"),)


def _find_result(call: ToolCall, results: Mapping[str, ToolResult]) -> ToolResult:
    found = results.get(call.id)
    if found is None:
        return ToolResult(call.id, NO_RESULT, call.name, is_error=True)
    return found if found.name == call.name else replace(found, name=call.name)


def _join_turns(turns: Iterable[Message]) -> Iterator[Message]:
    joined: Message | None = None
    for turn in turns:
        if joined is not None and joined.role == turn.role:
            joined = replace(joined, content=(*joined.parts, *turn.parts))
            continue
        if joined is not None:
            yield joined
        joined = turn
    if joined is not None:
        yield joined


def _put_text_first(turn: Message) -> Message:
    if turn.role != "assistant":
        return turn
    parts = turn.parts
    first = next((index for index, part in enumerate(parts) if isinstance(part, ToolCall)), len(parts))
    late = tuple(part for part in parts[first:] if isinstance(part, Text))
    if not late:
        return turn
    others = tuple(part for part in parts[first:] if not isinstance(part, Text))
    return replace(turn, content=(*parts[:first], *late, *others))


def _replace_ids(turn: Message, rules: HistoryRules) -> Message:
    if isinstance(turn.content, str):
        return turn
    parts = tuple(_replace_id(part, rules) for part in turn.content)
    return turn if all(map(_is_same, parts, turn.content)) else replace(turn, content=parts)


def _is_same(one: Part, other: Part) -> bool:
    return one is other


def _replace_id(part: Part, rules: HistoryRules) -> Part:
    if isinstance(part, ToolCall) and (known := map_call_id(part.id, rules)) != part.id:
        return replace(part, id=known)
    if isinstance(part, ToolResult) and (known := map_call_id(part.call_id, rules)) != part.call_id:
        return replace(part, call_id=known)
    return part


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def map_call_id(given: str, rules: HistoryRules) -> str:
    """The id as this wire takes it, the same one each time."""
    if _compile(rules.id_pattern).fullmatch(given):
        return given
    digits = sha256(given.encode("utf-8", "replace")).hexdigest()
    return rules.id_prefix + digits[: rules.hashed_id_chars]
