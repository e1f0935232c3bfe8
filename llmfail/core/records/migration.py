"""The records of version 0.1 under the keys of today: read once, and written anew.

Version 0.1 kept by name what now belongs to an address or a configuration. Only the configuration in force
can tell which address a name meant, so what it does not name is forgotten. Budgets, the log and the records
of what was used keep their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from llmfail.core.model import Address
from llmfail.core.records import state_keys
from llmfail.core.records.known_targets import TargetNames, add_target
from llmfail.core.records.record import Write, Writes, dump, load_or_default

_KEYS_OF_TARGETS: Mapping[str, Callable[[Address], str]] = {
    "circuit": state_keys.circuit_key,
    "quirks": state_keys.dropped_parameters_key,
    "tokens": state_keys.calibration_key,
}
KNOWN_TARGETS_KEY = "targets"
"""The record that named every target that was ever called, of all providers."""


def move_records(
    rows: Mapping[str, Write],
    providers: Mapping[str, Address],
    configuration: str,
    periods: Mapping[str, str] = MappingProxyType({}),
) -> Writes:
    """What to write in place of the rows of version 0.1. ``providers`` are the addresses of the providers of
    a configuration, which has this identity in the store; ``periods`` are the keys of running periods that
    have another name now, because they were days of the machine.
    """
    writes: dict[str, Write | None] = {}
    for key, row in rows.items():
        if not _is_old(key, providers):
            continue
        writes[key] = None
        moved = _move_key(key, providers, configuration)
        if moved is not None and moved not in rows:
            writes.setdefault(moved, row)
    writes.update(_move_periods(rows, periods))
    if KNOWN_TARGETS_KEY in rows:
        writes.update(_divide_targets(rows[KNOWN_TARGETS_KEY], providers))
    return writes


def _move_periods(
    rows: Mapping[str, Write], periods: Mapping[str, str]
) -> Iterator[tuple[str, Write | None]]:
    """What is spent in the running period goes on counting, and counts in no other."""
    moved = {
        key: new + key[len(old) :]
        for old, new in periods.items()
        for key in rows
        if key == old or key.startswith((f"{old}/", f"{old}#"))
    }
    yield from ((key, None) for key in moved)
    yield from ((new, rows[key]) for key, new in moved.items())


def _is_old(key: str, providers: Mapping[str, Address]) -> bool:
    """A new version writes new keys into an old file while nobody has chosen the configuration."""
    match key.split("/"):
        case ["circuit" | "quirks" | "tokens", _, _, *_] | ["tally", _, _, _, *_]:
            return True
        case ["turn" | "hedge" | "routing", _] | ["dimensions", _, _] | ["targets"]:
            return True
        case ["hold", provider] | ["credential", provider, _] | ["rate", provider, *_]:
            return provider in providers
        case _:
            return False


def _move_key(key: str, providers: Mapping[str, Address], configuration: str) -> str | None:
    """The new key; None for a record that is forgotten. A rate limit is soon at rest, and turns and hedges
    begin anew.
    """
    match key.split("/"):
        case ["routing", hour] if hour.isdecimal():
            return state_keys.ask_counters_key(configuration, int(hour))
        case ["dimensions", feature, model]:
            return state_keys.dimensions_key(configuration, feature, model)
        case [kind, provider, *rest] if provider in providers:
            return _move_provider_key(kind, providers[provider], rest)
        case _:
            return None


def _move_provider_key(kind: str, provider: Address, rest: list[str]) -> str | None:
    match kind, rest:
        case "hold", []:
            return state_keys.provider_override_key(provider)
        case "credential", [identity]:
            return state_keys.credential_key(provider, identity)
        case "tally", [*model, hour] if hour.isdecimal():
            return state_keys.call_counters_key(_add_model(provider, model), int(hour))
        case _:
            build = _KEYS_OF_TARGETS.get(kind)
            return None if build is None else build(_add_model(provider, rest))


def _add_model(address: Address, parts: list[str]) -> Address:
    return replace(address, model="/".join(parts))


def _divide_targets(row: Write, providers: Mapping[str, Address]) -> Iterator[tuple[str, Write]]:
    """The names of the targets that were called, by the addresses of their providers."""
    names = load_or_default(row.text, TargetNames).names
    called: dict[str, TargetNames] = {}
    for name in names:
        provider = name.partition("/")[0]
        if provider in providers:
            key = state_keys.known_targets_key(providers[provider])
            called[key] = add_target(called.get(key, TargetNames()), name)
    return ((key, Write(dump(found))) for key, found in called.items())
