"""What is asked, of all places where a command line may say it: argument, standard input and files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmfail.cli.arguments.ask_values import ATTACHED_INPUT
from llmfail.cli.arguments.prompt import MAX_STDIN_BYTES, read_prompt
from llmfail.cli.io.files import STANDARD_INPUT
from llmfail.core.errors import UsageError

if TYPE_CHECKING:
    from llmfail.client.options import Prompt


def read_conversation(typed: Mapping[str, Any], *, quiet: bool) -> Prompt:
    """The prompt, or the conversation of --messages with the prompt as what the user says last. Raises
    UsageError.
    """
    document = None if typed.get("messages") is None else Path(typed["messages"])
    takes_input = document == STANDARD_INPUT or ATTACHED_INPUT in (typed.get("attach") or ())
    prompt = read_prompt(typed.get("prompt"), quiet=quiet, has_input=not takes_input)
    if typed.get("prompt_file") is not None:
        prompt = "\n\n".join(filter(None, (_read_text("--prompt-file", typed["prompt_file"]), prompt)))
    return prompt or "" if document is None else _read_document(document, prompt)


def with_system_file(typed: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was typed, with the text of --system-file as the system prompt. Raises UsageError."""
    if typed.get("system_file") is None:
        return typed
    if typed.get("system") is not None:
        raise UsageError("say --system or --system-file, not both")
    return {**typed, "system": _read_text("--system-file", typed["system_file"])}


def _read_document(path: Path, prompt: str | None) -> Prompt:
    from llmfail.cli.io.json_files import parse_json, read_json_file

    if path == STANDARD_INPUT:
        document = parse_json("standard input", sys.stdin.buffer.read(MAX_STDIN_BYTES))
    else:
        document = read_json_file("--messages", path)
    if isinstance(document, dict):
        turns = next((name for name in ("contents", "input") if name in document), "messages")
        return {**document, turns: _add_prompt(path, document.get(turns), prompt, key=turns)}
    return _add_prompt(path, document, prompt)


def _add_prompt(path: Path, turns: object, prompt: str | None, *, key: str = "messages") -> list[Any]:
    """The turns with the prompt as what the user says last; ``contents`` are those of a request to Gemini,
    ``input`` those of one to Responses, which may be a text.
    """
    if key == "input" and isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list):
        raise UsageError(
            f"--messages {path}: it is a list of messages, or an object with a list called messages"
        )
    if not prompt:
        return turns
    said = {"parts": [{"text": prompt}]} if key == "contents" else {"content": prompt}
    return [*turns, {"role": "user", **said}]


def _read_text(option: str, name: str | Path) -> str:
    from llmfail.client.attachment_files import read_bytes

    try:
        return read_bytes(Path(name), MAX_STDIN_BYTES).decode("utf-8-sig").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {name} is not UTF-8 text (byte {error.start})") from error
