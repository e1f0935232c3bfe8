"""The JSON Schema files that a command or a configuration names: reading and checking them.

Reading one is cheap. Checking that it is a valid schema needs a library, so that is a separate step.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from llmfail.core.errors import UsageError
from llmfail.core.request.answer_schema import MAX_LEVELS, find_schema_problem, is_deeper_than
from llmfail.core.request.expectation import Expectation, find_problem
from llmfail.settings.schema.types import Expect

MAX_SCHEMA_BYTES: Final = 1 << 20


class InvalidSchemaFile(ValueError):
    """A file that contains no JSON Schema. The text follows the name of the file: ``is not JSON``."""


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """A regular file that a configuration names. Raises InvalidSchemaFile."""
    try:
        if not path.exists():
            raise InvalidSchemaFile("is not there (file names are relative to the configuration)")
        if not path.is_file():
            raise InvalidSchemaFile("is not a regular file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise InvalidSchemaFile(f"cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise InvalidSchemaFile("is too large for a JSON Schema")
    return data


def read_schema(path: Path, read_bytes: Callable[[Path, int], bytes] = read_regular_file) -> dict[str, Any]:
    """The content of the file, if it may be a schema. Raises InvalidSchemaFile."""
    try:
        schema = msgspec.json.decode(read_bytes(path, MAX_SCHEMA_BYTES).removeprefix(BOM_UTF8))
    except RecursionError:
        raise InvalidSchemaFile("is not a JSON Schema: it is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidSchemaFile(f"is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise InvalidSchemaFile("is not a JSON Schema: it must be an object")
    if is_deeper_than(schema, MAX_LEVELS):
        raise InvalidSchemaFile("is not a JSON Schema: it is nested too deeply")
    return schema


def load_schema(path: Path, read_bytes: Callable[[Path, int], bytes] = read_regular_file) -> dict[str, Any]:
    """A schema to check answers with. Raises UsageError, in one line. ``read_bytes`` reads a file of at most
    so many bytes.
    """
    try:
        schema = read_schema(path, read_bytes)
    except InvalidSchemaFile as error:
        raise UsageError(f"{path} {error}") from None
    if (problem := find_schema_problem(schema)) is not None:
        raise UsageError(f"{path} {problem}")
    return schema


def load_expectation(expect: Expect, directory: Path) -> Expectation:
    """What a feature expects of an answer. File names are relative to ``directory``. Raises UsageError for an
    invalid pattern or schema.
    """
    patterns = () if expect.regex is None else (expect.regex,)
    expected = Expectation(
        nonempty=expect.nonempty, complete=expect.complete, json=expect.json, patterns=patterns
    )
    if patterns and (problem := find_problem(expected)) is not None:
        raise UsageError(f"expect: regex: {problem}")
    if expect.schema is None:
        return expected
    return msgspec.structs.replace(expected, schema=load_schema(directory / expect.schema))
