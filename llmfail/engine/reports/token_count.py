"""How many tokens a request is on a target: expected, by what the target has reported so far, or counted by
its provider, which charges nothing for that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import reservation
from llmfail.core.model import Embedding, Request, Target, Usage
from llmfail.core.records.record import Names, recall
from llmfail.core.tokens import token_bounds
from llmfail.engine.attempt.call import Departure, call
from llmfail.engine.planning.codec import Exchange, Reading
from llmfail.engine.planning.targets import Routes
from llmfail.engine.ports.ports import Ports

LIMIT = 10.0
"""Seconds that a provider has to count."""


class Question(Struct, frozen=True):
    """Hashable: its request has no schema."""

    request: Request
    target: Target


class Counted(Struct, frozen=True):
    """``note`` says why it is an estimate although a count was wanted."""

    input_tokens: int
    note: str = ""


Counts = dict[Question, Counted]


async def estimated(ports: Ports, questions: Sequence[Question]) -> Counts:
    """From what is known of each target. Asks nobody."""
    keys = dict.fromkeys(reservation.calibration_key(one.target) for one in questions)
    values, _ = await ports.keeper.read(list(keys))
    sizes = {request: token_bounds.size_of(request) for request in {one.request for one in questions}}
    return {
        one: Counted(token_bounds.expected(sizes[one.request], reservation.calibration(one.target, values)))
        for one in questions
    }


async def counted(routes: Routes, ports: Ports, counts: Counts, asked: Collection[Question]) -> Counts:
    """The same, with what the providers say to those that are ``asked``. Where one says nothing the estimate
    stays; one from which no whole reply came is not asked again.
    """
    found = dict(counts)
    unreached: dict[str, str] = {}
    for question in dict.fromkeys(asked):
        provider = question.target.provider
        note = unreached.get(provider) or routes[question.target].missing_key
        if note is None:
            reading = await _ask(routes, ports, question)
            if reading.answer is not None and reading.answer.usage is not None:
                found[question] = Counted(reading.answer.usage.input_tokens)
                continue
            note = _why(reading)
            if reading.skipped is None and reading.status is None:
                unreached[provider] = note
        found[question] = replace(counts[question], note=note)
    return found


async def _ask(routes: Routes, ports: Ports, question: Question) -> Reading:
    route = routes[question.target]
    values, _ = await ports.keeper.read([route.gate.quirks_key])
    quirks = recall(values[route.gate.quirks_key], Names).names
    return await call(ports, _counting(question.request), route, quirks, Departure(LIMIT, lambda: None))


def _why(reading: Reading) -> str:
    outcome = reading.outcome
    return outcome.note if reading.skipped else f"{outcome.kind}: {outcome.note}".rstrip(": ")


def _counting(request: Request) -> Exchange:
    """A count travels as an embedding that has no vectors, only a usage."""
    return Exchange(
        lambda fmt, endpoint: fmt.encode_count(request, endpoint),
        lambda fmt, payload: Embedding((), Usage(fmt.decode_count(payload))),
    )
