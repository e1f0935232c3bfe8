"""The JSON Schemas that a command or a configuration names: read, and held to be what they must be.

Reading one is cheap. Whether it is a valid schema takes a library to say, so that is asked apart from it.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from llmfail.core.errors import UsageError
from llmfail.core.request.answer_schema import DEEPEST, is_deeper
from llmfail.core.request.answer_schema import flaw as schema_flaw
from llmfail.core.request.expectation import Expectation, flaw
from llmfail.settings.schema.types import Expect

LARGEST: Final = 1 << 20
"""Bytes."""


class NoSchema(ValueError):
    """A file that holds no JSON Schema. The text goes behind its name: ``is not JSON``."""


def bytes_of(path: Path, most: int) -> bytes:
    """A plain file that a configuration names. Raises NoSchema."""
    try:
        if not path.exists():
            raise NoSchema("is not there (file names are relative to the configuration)")
        if not path.is_file():
            raise NoSchema("is not a regular file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise NoSchema(f"cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise NoSchema("is too large for a JSON Schema")
    return data


def read(path: Path, bytes_of: Callable[[Path, int], bytes] = bytes_of) -> dict[str, Any]:
    """What the file says, if it may be a schema. Raises NoSchema."""
    try:
        schema = msgspec.json.decode(bytes_of(path, LARGEST).removeprefix(BOM_UTF8))  # strict: no NaN
    except RecursionError:
        raise NoSchema("is not a JSON Schema: it is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NoSchema(f"is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise NoSchema("is not a JSON Schema: it must be an object")
    if is_deeper(schema, DEEPEST):
        raise NoSchema("is not a JSON Schema: it is nested too deeply")
    return schema


def schema_of(path: Path, bytes_of: Callable[[Path, int], bytes] = bytes_of) -> dict[str, Any]:
    """A schema to judge answers by. Raises UsageError, in one line. ``bytes_of`` gets at a file, of at most
    so many bytes.
    """
    try:
        schema = read(path, bytes_of)
    except NoSchema as error:
        raise UsageError(f"{path} {error}") from None
    if (problem := schema_flaw(schema)) is not None:
        raise UsageError(f"{path} {problem}")
    return schema


def expectation_of(expect: Expect | None, directory: Path) -> Expectation:
    """What a feature expects; without a word on it, some text. ``directory`` is what file names are relative
    to. Raises UsageError for a pattern or a schema that is none.
    """
    expect = expect or Expect()
    patterns = () if expect.regex is None else (expect.regex,)
    expected = Expectation(
        nonempty=expect.nonempty, complete=expect.complete, json=expect.json, patterns=patterns
    )
    if patterns and (problem := flaw(expected)) is not None:
        raise UsageError(f"expect: regex: {problem}")
    if expect.schema is None:
        return expected
    return msgspec.structs.replace(expected, schema=schema_of(directory / expect.schema))
