"""The options of a model as callers write them, held against what the configuration may say of them."""

from __future__ import annotations

from collections.abc import Mapping

from llmfail.core.conversation import OPTION_NAMES, GenerationOptions
from llmfail.core.errors import UsageError
from llmfail.settings.reading.plain_values import parse_scalar
from llmfail.settings.reading.validate import ValidationNotes, validate
from llmfail.settings.schema.provider_types import OptionsPatch
from llmfail.settings.schema.shape import shape_of


def read_generation_options(name: str, written: object) -> GenerationOptions:
    """Raises UsageError, which names the option that is wrong."""
    if not isinstance(written, Mapping):
        raise UsageError(f"{name} is a mapping of names to values, got {written!r}")
    tree = {
        str(key): parse_scalar(value) if isinstance(value, str) else value for key, value in written.items()
    }
    notes = ValidationNotes({})
    found = validate(shape_of(OptionsPatch), tree, (), notes)
    if notes.problems:
        place, problem = notes.problems[0]
        raise UsageError(f"{name} {'.'.join(map(str, place))}: {problem}")
    return GenerationOptions(**{key: getattr(found, key) for key in OPTION_NAMES})
