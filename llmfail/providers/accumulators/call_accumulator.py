"""What a stream of Chat Completions has besides text: the calls of tools, in deltas or in one piece, and the
details of thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmfail.core.answer_piece import CallArguments, CallBegun
from llmfail.providers.decoding import SurrogateJoiner, as_clean_text, as_mapping, as_string
from llmfail.providers.dialects.chat_parts import read_call_signature
from llmfail.providers.stream import StreamPiece

_DETAIL_TEXTS = ("text", "summary", "data")


class CallAccumulator:
    """Deltas belong together by their ``index``. Servers without one send each call whole, or begin each
    with an id of its own.
    """

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._arguments: list[SurrogateJoiner] = []
        self._places: dict[int, int] = {}
        self._told: set[int] = set()

    def add(self, delta: Mapping[str, Any]) -> Iterator[StreamPiece]:
        """What the delta says; of a call nothing is said before its name is known."""
        place = self._find_place(delta)
        call, function = self._calls[place], as_mapping(delta.get("function"))
        call["id"] = call.get("id") or as_string(delta.get("id"))
        call["name"] = call.get("name") or as_string(function.get("name"))
        if delta.get("extra_content"):
            call["extra_content"] = delta["extra_content"]
        said, arguments = "", function.get("arguments")
        if isinstance(arguments, str):
            said = self._arguments[place].add(arguments)
        elif isinstance(arguments, dict):
            call["arguments"] = arguments
        if place not in self._told and call["name"]:
            self._told.add(place)
            own, name = as_clean_text(call["id"]), as_clean_text(call["name"])
            yield CallBegun(place, own, name, read_call_signature(call))
            said = str(self._arguments[place])
        if said and place in self._told:
            yield CallArguments(place, said)

    def build_calls(self) -> list[dict[str, Any]]:
        """As they stand in an answer that is not streamed."""
        return [
            {
                "id": call["id"],
                "function": {"name": call["name"], "arguments": call.get("arguments", str(joined))},
                **({"extra_content": call["extra_content"]} if "extra_content" in call else {}),
            }
            for call, joined in zip(self._calls, self._arguments, strict=True)
        ]

    def _find_place(self, delta: Mapping[str, Any]) -> int:
        index, own = delta.get("index"), as_string(delta.get("id"))
        if isinstance(index, int):
            known = self._places.get(index)
            is_other = known is not None and own and self._calls[known]["id"] not in {"", own}
            if known is not None and not is_other:
                return known
            self._places[index] = len(self._calls)
        elif self._calls and (not own or own == self._calls[-1]["id"]):
            return len(self._calls) - 1
        self._calls.append({"id": "", "name": ""})
        self._arguments.append(SurrogateJoiner())
        return len(self._calls) - 1


def merge_details(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """OpenRouter's details of thoughts: pieces of one follow each other, with the same index and type."""
    merged: list[dict[str, Any]] = []
    for detail in details:
        last = merged[-1] if merged else None
        if last is None or any(detail.get(name) != last.get(name) for name in ("type", "index")):
            merged.append(dict(detail))
            continue
        for name, value in detail.items():
            is_text = name in _DETAIL_TEXTS and isinstance(value, str) and isinstance(last.get(name), str)
            last[name] = last[name] + value if is_text else value if value is not None else last.get(name)
    return merged
