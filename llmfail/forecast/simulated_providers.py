"""Providers whose outages are known in advance: each call is answered after its latency, or fails as the
outage of the moment has it. All speak the wire format of OpenAI: a forecast is about chains, not about wires.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from random import Random

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.errors import WireError
from llmfail.core.model import Call, Reply, Secret, Target
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.forecast.outages import OutageHistory, OutageKind
from llmfail.settings.schema.provider_types import CredentialSource, Provider, RateLimits
from llmfail.settings.schema.settings import Settings

MADE_UP_KEY = Secret("made-up-for-the-forecast")
ERROR_SECONDS = 0.3
"""Seconds until a provider that is down says so."""
SLOW_FACTOR = 10
RETRY_AFTER_SECONDS = 30
Z_95_ONE_SIDED = 1.6448536269514722
_DOWN = Reply(503, {}, b'{"error":{"message":"overloaded","type":"server_error","code":null}}')
_LIMITED = Reply(
    429,
    {"retry-after": str(RETRY_AFTER_SECONDS)},
    b'{"error":{"message":"rate limit","type":"rate_limit_error","code":"rate_limit_exceeded"}}',
)


class Latency(Struct, frozen=True):
    """Of a healthy call, in seconds; between the two percentiles it is log-normal."""

    p50: float = 1.0
    p95: float = 3.0

    def draw(self, dice: Random) -> float:
        spread = log(max(self.p95 / self.p50, 1.0)) / Z_95_ONE_SIDED
        return self.p50 * exp(spread * dice.gauss(0.0, 1.0))


class TokenCounts(Struct, frozen=True):
    """Of each ask."""

    input: int = 2000
    output: int = 1000


class SimulatedProviders:
    """``send`` for the engine's ports."""

    def __init__(
        self,
        settings: Settings,
        histories: Mapping[Target, OutageHistory],
        latencies: Mapping[Target, Latency],
        tokens: TokenCounts,
        time: SimulatedClock,
        dice: Random,
    ) -> None:
        self._targets = {
            (settings.provider_of(target).base_url, target.model): target for target in histories
        }
        self._histories = histories
        self._latencies = latencies
        self._time = time
        self._dice = dice
        self._answer = _build_answer(tokens)
        self._expected: dict[Target, float] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - in simulated seconds
        target = self._targets[call.url.removesuffix("/chat/completions"), _read_model(call.body)]
        outage = self._histories[target].find(self._time.now)
        if outage is OutageKind.DOWN:
            return await self._reply(_DOWN, ERROR_SECONDS, timeout)
        if outage is OutageKind.RATE_LIMITED:
            return await self._reply(_LIMITED, ERROR_SECONDS, timeout)
        latency = self.draw_latency(target)
        if outage is OutageKind.HANG:
            latency = timeout * 2
        elif outage is OutageKind.SLOW:
            latency *= SLOW_FACTOR
        return await self._reply(self._answer, latency, timeout)

    def expect(self, target: Target, latency: float) -> None:
        """The next call to a target takes so long: it was drawn before."""
        self._expected[target] = latency

    def draw_latency(self, target: Target) -> float:
        expected = self._expected.pop(target, None)
        if expected is not None:
            return expected
        return self._latencies.get(target, Latency()).draw(self._dice)

    async def _reply(self, reply: Reply, after: float, limit: float) -> Reply:
        await self._time.sleep(min(after, limit))
        if after > limit:
            raise WireError("timeout", "no answer in time")
        return reply


def simulate_settings(settings: Settings) -> Settings:
    """The configuration as it is, with providers of one wire format, made-up keys, and without what would
    decide by itself: budgets, rate limits of our own and the cache.
    """
    return settings.with_providers_alone(
        {name: _simulate_provider(provider) for name, provider in settings.providers.items()}
    )


def _simulate_provider(provider: Provider) -> Provider:
    return replace(
        provider,
        api="openai",
        api_key=MADE_UP_KEY,
        token=None,
        credential=CredentialSource.KEY,
        limits=RateLimits(),
        base_url=provider.base_url or f"https://{provider.name}.invalid/v1",
    )


class _Body(Struct):
    model: str


_BODY_DECODER = msgspec.json.Decoder(_Body)


def _read_model(body: bytes) -> str:
    return _BODY_DECODER.decode(body).model


def _build_answer(tokens: TokenCounts) -> Reply:
    document = {
        "model": "simulated",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens.input, "completion_tokens": tokens.output},
    }
    return Reply(200, {}, msgspec.json.encode(document))
