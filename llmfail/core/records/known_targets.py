"""The names of the targets that were called at a provider's address, whatever the configuration names.

Programs may invent any number of them: beyond a thousand the oldest is forgotten, and known again from its
next call.
"""

from __future__ import annotations

from llmfail.core.records.record import Record

MAX_KNOWN_TARGETS = 1000


class TargetNames(Record, frozen=True):
    """The oldest first."""

    names: tuple[str, ...] = ()


def add_target(known: TargetNames, name: str) -> TargetNames:
    """The same when it is among them."""
    return known if name in known.names else TargetNames((*known.names, name)[-MAX_KNOWN_TARGETS:])
