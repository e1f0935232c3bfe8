"""Thoughts that a model wrote into its answer: a leading ``<think>…</think>`` block is not the answer.

Servers without a parser for reasoning pass it through (vLLM, llama.cpp, Ollama with Qwen or DeepSeek).
"""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.conversation import Part, Text
from llmfail.core.model import Completion

_OPEN, _CLOSE = "<think>", "</think>"


def split_thoughts(text: str) -> tuple[str, str]:
    """The thoughts and the answer. A block that never ends is all thoughts."""
    thoughts: list[str] = []
    while (begun := text.lstrip()).startswith(_OPEN):
        thought, _, text = begun.removeprefix(_OPEN).partition(_CLOSE)
        thoughts.append(thought.strip())
    return "\n".join(thoughts), begun if thoughts else text


def separate_thoughts(completion: Completion) -> Completion:
    """The completion with its leading thoughts apart from its text."""
    thoughts, answer = split_thoughts(completion.text)
    if answer == completion.text:
        return completion
    return replace(completion, text=answer, thoughts=thoughts, parts=_replace_text(completion.parts, answer))


def _replace_text(parts: tuple[Part, ...], answer: str) -> tuple[Part, ...]:
    """The parts with this as their only text, where the first of theirs was."""
    first = next((index for index, part in enumerate(parts) if isinstance(part, Text)), len(parts))
    others = tuple(part for part in parts[first:] if not isinstance(part, Text))
    return (*parts[:first], *((Text(answer),) if answer and parts else ()), *others)


class ThoughtFilter:
    """The same for a text that comes in pieces, in time that grows with the text: ``feed`` gives what belongs
    to the answer, ``flush`` what was held back because it might have become a block of thoughts.
    """

    def __init__(self) -> None:
        self._blanks: list[str] = []
        self._head = ""
        self._tail = ""
        self._is_thinking = self._has_thought = False
        self.is_answering = False
        """Whatever comes belongs to the answer."""

    def feed(self, piece: str) -> str:
        if self.is_answering:
            return piece
        if self._is_thinking:
            return self._skip_thoughts(piece)
        if self._head:
            self._head += piece
        else:
            self._head = piece.lstrip()
            self._blanks.append(piece[: len(piece) - len(self._head)])
        if self._head.startswith(_OPEN):
            self._is_thinking = True
            return self._skip_thoughts(self._head.removeprefix(_OPEN))
        return "" if _OPEN.startswith(self._head) else self.flush()

    def flush(self) -> str:
        blanks = [] if self._has_thought else self._blanks
        held = "" if self._is_thinking or self.is_answering else "".join((*blanks, self._head))
        self.is_answering = True
        return held

    def _skip_thoughts(self, piece: str) -> str:
        """Only as much is kept as may be the beginning of the end of the block. Another one may follow."""
        text = self._tail + piece
        _, end, rest = text.partition(_CLOSE)
        if not end:
            self._tail = text[1 - len(_CLOSE) :]
            return ""
        self._is_thinking, self._has_thought = False, True
        self._head = self._tail = ""
        return self.feed(rest)
