"""How many tokens a request is on a target: expected, by what the target has reported so far, or counted by
its provider, which charges nothing for that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import reservation
from llmfail.core.model import Embedding, Request, Target, Usage
from llmfail.core.records.record import NameSet, load_or_default
from llmfail.core.records.state_keys import calibration_key
from llmfail.core.routing.attempt_result import AttemptResult
from llmfail.core.routing.rejected_parameters import names_to_leave_out
from llmfail.core.tokens import token_bounds
from llmfail.engine.attempt.call import CallOptions, call
from llmfail.engine.planning.codec import Codec
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports

COUNT_TIMEOUT = 10.0
"""Seconds that a provider has to count."""


class CountRequest(Struct, frozen=True):
    """Hashable: its request has no schema."""

    request: Request
    target: Target


class TokenCount(Struct, frozen=True):
    """``note`` says why it is an estimate although a count was wanted."""

    input_tokens: int
    note: str = ""


Counts = dict[CountRequest, TokenCount]


async def estimate_counts(routes: TargetRoutes, ports: Ports, questions: Sequence[CountRequest]) -> Counts:
    """From what is known of each target. Asks nobody."""
    addresses = {one.target: routes[one.target].gate.address for one in questions}
    values, _ = await ports.store.read([calibration_key(one) for one in dict.fromkeys(addresses.values())])
    sizes = {request: token_bounds.size_of(request) for request in {one.request for one in questions}}
    return {
        one: TokenCount(
            token_bounds.estimate_input(
                sizes[one.request], reservation.load_calibration(addresses[one.target], values)
            )
        )
        for one in questions
    }


async def count_by_providers(
    routes: TargetRoutes, ports: Ports, counts: Counts, asked: Collection[CountRequest]
) -> Counts:
    """The same, with what the providers say to those that are ``asked``. Where one says nothing the estimate
    stays; one from which no whole reply came is not asked again.
    """
    found = dict(counts)
    unreached: dict[str, str] = {}
    for question in dict.fromkeys(asked):
        provider = question.target.provider
        note = unreached.get(provider) or routes[question.target].missing_key
        if note is None:
            result = await _ask_provider(routes, ports, question)
            if result.answer is not None and result.answer.usage is not None:
                found[question] = TokenCount(result.answer.usage.input_tokens)
                continue
            note = _failure_note(result)
            if result.skipped is None and result.status is None:
                unreached[provider] = note
        found[question] = replace(counts[question], note=note)
    return found


async def count_tokens(routes: TargetRoutes, ports: Ports, request: Request, target: Target) -> int:
    """By the provider of the target, where it counts and is there; else what is expected."""
    address = routes[target].gate.address
    values, _ = await ports.store.read([calibration_key(address)])
    if routes[target].missing_key is None:
        result = await _ask_provider(routes, ports, CountRequest(request, target))
        if result.answer is not None and result.answer.usage is not None:
            return result.answer.usage.input_tokens
    size = token_bounds.size_of(request)
    return token_bounds.estimate_input(size, reservation.load_calibration(address, values))


async def _ask_provider(routes: TargetRoutes, ports: Ports, question: CountRequest) -> AttemptResult:
    route = routes[question.target]
    values, _ = await ports.store.read([route.gate.dropped_parameters_key])
    known = load_or_default(values[route.gate.dropped_parameters_key], NameSet).names
    quirks = names_to_leave_out(known, question.request)
    return await call(
        ports, _count_codec(question.request), route, quirks, CallOptions(COUNT_TIMEOUT, lambda: None)
    )


def _failure_note(result: AttemptResult) -> str:
    outcome = result.outcome
    return outcome.note if result.skipped else f"{outcome.kind}: {outcome.note}".rstrip(": ")


def _count_codec(request: Request) -> Codec:
    """A count travels as an embedding that has no vectors, only a usage."""
    return Codec(
        lambda fmt, endpoint: fmt.encode_count(request, endpoint),
        lambda fmt, payload: Embedding((), Usage(fmt.decode_count(payload))),
    )
