"""Thoughts that a model wrote into its answer: a leading ``<think>…</think>`` block is not the answer.

Servers without a parser for reasoning pass it through (vLLM, llama.cpp, Ollama with Qwen or DeepSeek).
"""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.model import Completion

_OPEN, _CLOSE = "<think>", "</think>"


def split_thoughts(text: str) -> tuple[str, str]:
    """The thoughts and the answer. A block that never ends is all thoughts."""
    begun = text.lstrip()
    if not begun.startswith(_OPEN):
        return "", text
    thoughts, _, answer = begun.removeprefix(_OPEN).partition(_CLOSE)
    return thoughts.strip(), answer.lstrip()


def separate_thoughts(completion: Completion) -> Completion:
    """The completion with its leading thoughts apart from its text."""
    thoughts, answer = split_thoughts(completion.text)
    return completion if answer == completion.text else replace(completion, text=answer, thoughts=thoughts)


class ThoughtFilter:
    """The same for a text that comes in pieces: ``feed`` gives what belongs to the answer."""

    def __init__(self) -> None:
        self._pending = ""
        self._is_thinking = False
        self._is_answering = False

    def feed(self, piece: str) -> str:
        if self._is_answering:
            return piece
        self._pending += piece
        begun = self._pending.lstrip()
        if not self._is_thinking and not begun.startswith(_OPEN):
            return "" if _OPEN.startswith(begun) else self.flush()
        self._is_thinking = True
        _, end, answer = begun.partition(_CLOSE)
        if not end or not answer.strip():
            return ""
        self._is_answering, self._pending = True, ""
        return answer.lstrip()

    def flush(self) -> str:
        """What was held back because it might have become a block of thoughts."""
        self._is_answering = True
        held, self._pending = self._pending, ""
        return "" if self._is_thinking else held
