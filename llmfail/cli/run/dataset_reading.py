"""A golden data set as it is read: every line is found to be one before anybody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.client.options import ask_of
from llmfail.core.errors import UsageError
from llmfail.core.evaluation.dataset_line import DatasetLine, parse_dataset_line
from llmfail.core.evaluation.eval_report import Ref
from llmfail.core.request.batch_line import PROMPT_LINES, MalformedLine, parse_line
from llmfail.core.request.line_splitter import RawLine

CHOSEN_FIELDS = ("model", "no_fallback", "feature")
SHIPPED_DIRECTORY = Path(__file__).parents[2] / "data" / "golden"
"""A data set for each feature of the example configuration."""


class GoldenLine(Struct, frozen=True):
    """A line of the data set: its ``fields`` are those of a batch line."""

    ref: Ref
    fields: Mapping[str, Any]
    golden: DatasetLine


def find_shipped_dataset(feature: str) -> Path:
    """Raises UsageError for a feature without one."""
    file = SHIPPED_DIRECTORY / f"{feature}.jsonl"
    if file.is_file():
        return file
    known = ", ".join(sorted(one.stem for one in SHIPPED_DIRECTORY.glob("*.jsonl")))
    raise UsageError(f"name a data set, or one of the features with a shipped one: -f {known}")


def read_golden_lines(source: Path) -> list[GoldenLine]:
    """All of them, since each is asked several times. Raises UsageError for the first that is none."""
    try:
        texts = source.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from None
    lines = []
    for number, text in enumerate(texts, 1):
        if text.strip():
            try:
                lines.append(_parse_golden_line(number, text))
            except (UsageError, ValueError, RecursionError) as error:
                raise UsageError(f"{source}, line {number}: {error}") from None
    if not lines:
        raise UsageError(f"{source} has no lines")
    refs = [line.ref for line in lines]
    if len(set(map(str, refs))) < len(refs):
        twice = next(ref for place, ref in enumerate(refs) if ref in refs[:place])
        raise UsageError(f"{source}: the id {twice!r} is there twice")
    return lines


def _parse_golden_line(number: int, text: bytes) -> GoldenLine:
    """Raises UsageError and ValueError."""
    golden = parse_dataset_line(text)
    line = parse_line(RawLine(number, golden.batch_line), PROMPT_LINES)
    if line is None or isinstance(line, MalformedLine):
        raise UsageError("it is empty" if line is None else line.error)
    fields = msgspec.json.decode(golden.batch_line)
    fields = {"prompt": fields} if isinstance(fields, str) else fields
    for name in CHOSEN_FIELDS:
        if name in fields:
            raise UsageError(f"{name} is chosen by the evaluation, not by a line")
    ask_of(line.prompt, **line.options)
    return GoldenLine(line.ref, fields, golden)
