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
    """The same for a text that comes in pieces, in time that grows with the text: ``feed`` gives what belongs
    to the answer, ``flush`` what was held back because it might have become a block of thoughts.
    """

    def __init__(self) -> None:
        self._blanks: list[str] = []
        self._head = ""
        self._tail = ""
        self._is_thinking = self._has_closed = self._is_answering = False

    def feed(self, piece: str) -> str:
        if self._is_answering:
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
        held = "" if self._is_thinking or self._is_answering else "".join((*self._blanks, self._head))
        self._is_answering = True
        return held

    def _skip_thoughts(self, piece: str) -> str:
        """Only as much is kept as may be the beginning of the end of the block."""
        if not self._has_closed:
            text = self._tail + piece
            _, end, piece = text.partition(_CLOSE)
            self._has_closed = bool(end)
            self._tail = text[1 - len(_CLOSE) :]
        answer = piece.lstrip() if self._has_closed else ""
        self._is_answering = bool(answer)
        return answer
