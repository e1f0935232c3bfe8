"""The grammar of ``--drill``: which provider or target breaks, how, and how often.

``anthropic=503,openai=hangx2`` is a mapping from names to faults. The most specific name alone decides: a
target over its provider over ``all``. A fault with ``xN`` hits the first N calls that its name gets
and is over then; under ``all`` every provider has its own N.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llmfail.core.errors import UsageError

ALL = "all"
LONGEST_DELAY_MS = 3_600_000
GRAMMAR = (
    "write NAME=FAULT joined by commas, or none; NAME is a provider, a target or all; FAULT is an HTTP "
    "status from 400 to 599 (503, or 429:30 with Retry-After), quota, billing, auth, hang, cut, garbage, "
    "empty, refuse, none or slow:MS (at most an hour), each optionally xN for the first N calls only"
)


class FaultKind(StrEnum):
    HEALTHY = "none"
    STATUS = "status"
    SLOW = "slow"
    QUOTA = "quota"
    BILLING = "billing"
    AUTH = "auth"
    HANG = "hang"
    CUT = "cut"
    GARBAGE = "garbage"
    EMPTY = "empty"
    REFUSE = "refuse"


FAULT_WORDS = tuple(kind.value for kind in FaultKind if kind not in {FaultKind.STATUS, FaultKind.SLOW})

_FAULT_PATTERN = re.compile(
    r"(?:(?P<status>[45][0-9]{2})(?::(?P<retry_after>[0-9]{1,9}(?:\.[0-9]{1,6})?))?"
    r"|slow:(?P<delay_ms>[0-9]{1,9})"
    rf"|(?P<word>{'|'.join(FAULT_WORDS)}))"
    r"(?:x(?P<times>[1-9][0-9]{0,8}))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break. ``status`` and ``retry_after`` (seconds) belong to STATUS, ``delay`` (seconds) to
    SLOW; ``times`` is None when it never ends; ``message`` is said instead of the usual words.
    """

    kind: FaultKind
    status: int = 0
    retry_after: float | None = None
    delay: float = 0.0
    times: int | None = None
    message: str = ""

    def __str__(self) -> str:
        """As it is written: ``429:30x2``."""
        text = self.kind.value
        if self.kind is FaultKind.STATUS:
            text = (
                str(self.status)
                if self.retry_after is None
                else f"{self.status}:{format_decimal(self.retry_after)}"
            )
        elif self.kind is FaultKind.SLOW:
            text = f"slow:{round(self.delay * 1000)}"
        return text if self.times is None else f"{text}x{self.times}"


HEALTHY = Fault(FaultKind.HEALTHY)


@dataclass(frozen=True, slots=True)
class Faults:
    """Every fault by its name. Empty is a healthy day."""

    by_name: Mapping[str, Fault] = field(default_factory=dict)

    def find_fault(self, provider: str, model: str) -> tuple[str, Fault]:
        """The fault for a call, and the key under which its calls are counted."""
        for name in (f"{provider}/{model}", provider):
            if name in self.by_name:
                return name, self.by_name[name]
        return f"{ALL}:{provider}", self.by_name.get(ALL, HEALTHY)

    def is_refusing_connections(self, provider: str) -> bool:
        """Whether no call to the provider gets through at all, so that nobody has to listen for it."""
        fault = self.by_name.get(provider, self.by_name.get(ALL, HEALTHY))
        some_target = any(name.startswith(f"{provider}/") for name in self.by_name)
        return fault.kind is FaultKind.REFUSE and fault.times is None and not some_target

    def __str__(self) -> str:
        return ",".join(f"{name}={fault}" for name, fault in self.by_name.items()) or FaultKind.HEALTHY.value


def parse_faults(text: str) -> Faults:
    """``anthropic=503,openai=hangx2`` -> Faults; ``none`` -> a healthy day. Raises UsageError."""
    if text.strip() == FaultKind.HEALTHY.value:
        return Faults()
    rules: dict[str, Fault] = {}
    for part in text.split(","):
        name, fault = _parse_part(part.strip())
        if name in rules:
            raise UsageError(f"drill: {name} is named twice; give it one fault")
        rules[name] = fault
    return Faults(rules)


def check_names(faults: Faults, known: Collection[str]) -> None:
    """Raises UsageError for the first name that is neither ``all`` nor a known provider or target."""
    for name in faults.by_name:
        if name != ALL and name not in known:
            raise UsageError(
                f"drill: no provider or target is called {name}{_suggest_name(name, known)}; "
                f"use a name of your configuration, or all"
            )


def format_decimal(number: float) -> str:
    """30.0 -> ``30``, 0.5 -> ``0.5``; never an exponent."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _parse_part(part: str) -> tuple[str, Fault]:
    name, _, written = (side.strip() for side in part.partition("="))
    match = _FAULT_PATTERN.fullmatch(written)
    if not name or not match:
        raise UsageError(f"drill: cannot read {part!r}{_suggest_name(written, FAULT_WORDS)}; {GRAMMAR}")
    fault = _build_fault(match)
    if fault.delay * 1000 > LONGEST_DELAY_MS or (fault.kind is FaultKind.HEALTHY and fault.times):
        raise UsageError(f"drill: cannot read {part!r}; {GRAMMAR}")
    return name, fault


def _build_fault(match: re.Match[str]) -> Fault:
    times = int(match["times"]) if match["times"] else None
    if match["status"]:
        retry_after = float(match["retry_after"]) if match["retry_after"] else None
        return Fault(FaultKind.STATUS, status=int(match["status"]), retry_after=retry_after, times=times)
    if match["delay_ms"]:
        return Fault(FaultKind.SLOW, delay=int(match["delay_ms"]) / 1000, times=times)
    return Fault(FaultKind(match["word"]), times=times)


def _suggest_name(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, known, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""
