"""What is known to be wrong with one credential, or with one credential for one model.

A record belongs to one key, whose identity is a part of the record's name, so a changed key starts clean. An
``auth`` block lasts until the key changes or an operator resets it, a ``quota`` block until the provider's
reset. The others let one trial an hour through, over all processes, because a bill may be paid and a model
may come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from msgspec import field
from msgspec.structs import replace

from llmfail.core.classification.outcome import DisabledScope, Kind, Outcome
from llmfail.core.model import Secret
from llmfail.core.records.record import Record

TRIAL_INTERVAL_SECONDS = 3600.0
"""Seconds between two trials of a blocked credential."""
DEFAULT_QUOTA_WAIT_SECONDS = 3600.0
MAX_BLOCKED_MODELS = 100
"""With one credential."""
ALL_MODELS = ""
"""The scope of a block on every model."""


class Block(NamedTuple):
    """A reason to hold calls back. ``until``: when the next one may go; None: after a reset only. ``since``:
    when the provider reported it.
    """

    kind: Kind
    until: float | None
    note: str
    since: float = 0.0


class CredentialState(Record, frozen=True):
    """Blocks per scope: ``ALL_MODELS`` or a model."""

    blocks: Mapping[str, Block] = field(default_factory=dict)


def identity_of(base_url: str, key: Secret | None) -> str:
    """A name for a key at an address that reveals neither."""
    secret = key.reveal() if key else ""
    return sha256(f"{base_url}\0{secret}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def admit(credential: CredentialState, model: str, now: float) -> tuple[CredentialState, Block | None]:
    """The block that holds this call back, or None. A trial that is let through is noted in the record."""
    if not credential.blocks:
        return credential, None
    block = find_block(credential, model, now)
    if block is not None:
        return credential, block
    kept = {scope: _pass_block(scope, model, found, now) for scope, found in credential.blocks.items()}
    blocks = {scope: found for scope, found in kept.items() if found is not None}
    return (credential, None) if blocks == credential.blocks else (replace(credential, blocks=blocks), None)


def settle(
    credential: CredentialState,
    model: str,
    outcome: Outcome,
    now: float,
    *,
    admitted_at: float,
    renews_itself: bool,
) -> CredentialState:
    """A disabling outcome adds a block, an answer removes the blocks that are older than its admission, and
    any other outcome returns the trial. ``renews_itself``: the key is a token that changes by itself, so a
    refused one is tried again later.
    """
    scope = outcome.consequence.disables
    if scope is not None:
        where = ALL_MODELS if scope is DisabledScope.CREDENTIAL else model
        block = Block(
            outcome.kind, _block_until(outcome, now, renews_itself=renews_itself), outcome.note, now
        )
        return replace(credential, blocks=_add_block(credential.blocks, where, block))
    if not credential.blocks.keys() & {ALL_MODELS, model}:
        return credential
    kept = {
        where: _release_trial(block, now, admitted_at) if where in {ALL_MODELS, model} else block
        for where, block in credential.blocks.items()
        if where not in {ALL_MODELS, model} or outcome.kind is not Kind.OK or block.since > admitted_at
    }
    return replace(credential, blocks=kept)


def find_block(credential: CredentialState, model: str, now: float) -> Block | None:
    """The block that ``admit`` would return, without starting a trial."""
    for scope in (ALL_MODELS, model):
        block = credential.blocks.get(scope)
        if block is not None and (block.until is None or now < block.until):
            return block
    return None


def _add_block(blocks: Mapping[str, Block], where: str, block: Block) -> dict[str, Block]:
    """Of models that programs invent the oldest are forgotten."""
    models = blocks.keys() - {ALL_MODELS, where}
    newest = sorted(models, key=lambda one: blocks[one].since)[1 - MAX_BLOCKED_MODELS :]
    kept = {ALL_MODELS, *newest}
    return {**{one: found for one, found in blocks.items() if one in kept}, where: block}


def _pass_block(scope: str, model: str, block: Block, now: float) -> Block | None:
    """The block after a call has passed it; None when it is over."""
    if scope not in (ALL_MODELS, model):
        return block
    return None if block.kind is Kind.QUOTA else block._replace(until=now + TRIAL_INTERVAL_SECONDS)


def _release_trial(block: Block, now: float, admitted_at: float) -> Block:
    """When a trial proved nothing, the next one may start at once."""
    return block._replace(until=now) if block.until == admitted_at + TRIAL_INTERVAL_SECONDS else block


def _block_until(outcome: Outcome, now: float, *, renews_itself: bool) -> float | None:
    match outcome.kind:
        case Kind.AUTH if not renews_itself:
            return None
        case Kind.QUOTA:
            wait = outcome.retry_after if outcome.retry_after is not None else DEFAULT_QUOTA_WAIT_SECONDS
            return outcome.quota_resets_at if outcome.quota_resets_at is not None else now + wait
        case _:
            return now + TRIAL_INTERVAL_SECONDS
