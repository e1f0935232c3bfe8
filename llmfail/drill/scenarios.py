"""The scenes of an outage: what the configuration promises, and what was seen.

A scene is a function of a Play. It brings about its own beginnings, so each can be played alone. What was
sent is counted where it arrives, at the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission.breaker import State
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.drill.scenario_run import Cast, Play
from llmfail.settings.schema.types import (
    Cached,
    Command,
    Fixed,
    Queue,
    Rules,
    Step,
    Template,
)

DEGRADES: tuple[type[Step], ...] = (Template, Rules, Command, Fixed)
"""The degrade steps that answer when every model is down."""
ELSEWHERE: Mapping[type[Step], str] = {
    Cached: "a stored answer serves where there is one",
    Queue: "the request is queued",
}
"""What other steps do in earnest. A drill stores and keeps nothing."""
DOWN = "503"
RETRY_AFTER = 30.0
"""What the rate-limited provider asks for, in seconds."""


class Scene(Struct, frozen=True):
    """What a scene showed. ``words`` are its part of the verdict; ``warned``: nothing that was promised is
    broken, but somebody should know. ``receipt`` is that of the ask that was judged, ``requests`` are those
    of the part that was judged.
    """

    ok: bool
    expected: str
    saw: str
    receipt: Receipt | None = None
    words: str = ""
    warned: bool = False
    requests: Mapping[Target, int] = field(default_factory=dict)
    feature: str = ""
    name: str = ""


def healthy(play: Play) -> Scene:
    primary = play.cast.primary
    receipt = play.ask()
    ok = receipt.target == primary
    words = f"{primary} does not answer even on a healthy day: {_why(receipt, primary)}"
    return Scene(ok, f"{primary} answers", _told(receipt), receipt, "" if ok else words)


def primary_down(play: Play) -> Scene:
    primary = play.cast.primary
    play.strike(DOWN, play.cast.outage)
    receipt = play.ask()
    failures = play.look(primary).failures
    counted = failures > 0 or not play.cast.rules.enabled
    saw = f"{_told(receipt)}; the circuit of {primary} counts {_number(failures, 'failure')}"
    words = f"survives an outage of {primary.provider} ({_who(receipt)})"
    return _in_trouble(play, receipt, "an outage of", Scene(counted, "the circuit counts", saw, words=words))


def circuit_opens(play: Play) -> Scene:
    primary, threshold = play.cast.primary, play.cast.rules.failure_threshold
    if not play.is_guarded(primary):
        return _unguarded(primary)
    play.strike(DOWN, play.cast.outage)
    opened = _until_open(play, [primary])
    failures = play.requests[primary]
    receipt = play.ask()
    more = play.requests[primary] - failures
    ok = opened and failures <= threshold and more == 0
    expected = f"it opens after at most {_number(threshold, 'failure')}, then nothing is sent to {primary}"
    saw = f"{'open' if opened else 'not open'} after {_number(failures, 'request')}, then {more} more"
    return Scene(ok, expected, saw, receipt, "" if ok else f"the circuit of {primary} is {saw}")


def fallback_serves(play: Play) -> Scene:
    primary = play.cast.primary
    if not play.is_guarded(primary):
        return _unguarded(primary)
    play.strike(DOWN, play.cast.outage)
    _until_open(play, [primary])
    play.count_anew()
    receipt = play.ask()
    sent = play.requests[primary]
    saw = f"{_told(receipt)}; {_number(sent, 'request')} to {primary}"
    scene = Scene(sent == 0, f"nothing is sent to {primary}", saw)
    return _in_trouble(play, receipt, "an open circuit of", scene)


def recovery(play: Play) -> Scene:
    primary, needed = play.cast.primary, play.cast.rules.success_threshold
    if not play.is_guarded(primary):
        return _unguarded(primary)
    play.strike(DOWN, play.cast.outage)
    _until_open(play, [primary])
    wait = play.until_retry(primary)
    play.strike("none")
    play.clock.move(wait)
    play.count_anew()
    receipts = [play.ask() for _ in range(needed)]
    closed, sent = play.look(primary).state == State.CLOSED, play.requests[primary]
    ok = closed and sent == needed and all(receipt.target == primary for receipt in receipts)
    expected = f"{_number(needed, 'trial')} after {_seconds(wait)} close the circuit"
    saw = f"{'closed' if closed else 'not closed'} by {_number(sent, 'trial')}"
    words = f"recovers after {_seconds(wait)} by {_number(needed, 'trial')}"
    return Scene(ok, expected, saw, receipts[-1], words if ok else f"does not recover: {saw}")


def rate_limit(play: Play) -> Scene:
    primary = play.cast.primary
    play.strike(f"429:{RETRY_AFTER:g}", [primary.provider])
    play.ask()
    first, wait = play.requests[primary], play.until_retry(primary)
    receipt = play.ask()
    more = play.requests[primary] - first
    kept = (more == 0 and abs(wait - RETRY_AFTER) < 1e-3) or not play.cast.rules.enabled
    saw = f"{_told(receipt)}; {_number(first, 'request')}, then {more} more; left alone for {_seconds(wait)}"
    scene = Scene(kept, f"{primary} is left alone for {_seconds(RETRY_AFTER)}", saw)
    return _in_trouble(play, receipt, "a rate limit at", scene)


def hang(play: Play) -> Scene:
    play.strike("hang", play.cast.outage)
    started = play.clock.now
    receipt = play.ask()
    took = _seconds(play.clock.now - started)
    scene = Scene(
        ok=play.clock.now - started <= play.deadline + 0.1,
        expected="within the deadline",
        saw=f"{_told(receipt)} after {took}",
        words=f"a hang costs {took}",
    )
    return _in_trouble(play, receipt, "a hang of", scene)


def bad_key(play: Play) -> Scene:
    provider = play.cast.primary.provider
    play.strike("auth", play.cast.same_key)
    play.ask()
    first = play.count(provider)
    receipt = play.ask()
    more = play.count(provider) - first
    saw = f"{_told(receipt)}; {_number(first, 'request')} with the key, then {more} more"
    return _in_trouble(play, receipt, "a bad key for", Scene(more == 0, "the key is not sent again", saw))


def everything_down(play: Play) -> Scene:
    guarded = [target for target in play.cast.chain if play.is_guarded(target)]
    play.strike(DOWN)
    _until_open(play, guarded)
    play.count_anew()
    receipt = play.ask()
    told = _told(receipt)
    if _degrades(play.cast):
        ok = receipt.ok and receipt.tier == 4
        return Scene(ok, "a degraded answer", told, receipt, f"everything down: {told}")
    code = receipt.exit_code
    ok = code == ExitCode.UNAVAILABLE and (receipt.retry_at is not None or not guarded)
    when = "cannot tell when to retry"
    if receipt.retry_at is not None:
        when = "tells when to retry"
        told = f"{told}, retry in {_seconds(receipt.retry_at - play.clock.now)}"
    words = [ELSEWHERE[type(step)] for step in play.cast.feature.degrade if type(step) in ELSEWHERE]
    earnest = f" (in earnest {', else '.join(words)})" if words else ""
    return Scene(
        ok, "exit 3, and when to retry", told, receipt, f"everything down: exit {code}, {when}{earnest}"
    )


SCENES: Mapping[str, Callable[[Play], Scene]] = {
    "healthy": healthy,
    "primary-down": primary_down,
    "circuit-opens": circuit_opens,
    "fallback-serves": fallback_serves,
    "recovery": recovery,
    "rate-limit": rate_limit,
    "hang": hang,
    "bad-key": bad_key,
    "everything-down": everything_down,
}
"""In the order of the story."""


def _in_trouble(play: Play, receipt: Receipt, trouble: str, scene: Scene) -> Scene:
    """With a fallback somebody has to answer, whatever else the scene expects; without one nobody has to."""
    cast = play.cast
    provider = cast.primary.provider
    if cast.alone and not _degrades(cast):
        words = f"no fallback: an outage of {provider} is an outage of this feature"
        expected = f"no answer, for want of a fallback; {scene.expected}"
        return replace(scene, expected=expected, receipt=receipt, words=words, warned=True)
    words = scene.words if scene.ok else f"{trouble} {provider}: {scene.saw}"
    if cast.together and not receipt.ok:
        words = f"does not survive an outage of {provider}: every fallback is at {cast.address} too"
    elif receipt.error is not None:
        words = f"does not survive {trouble} {provider}: exit {receipt.error.code} ({receipt.error.kind})"
    expected = f"a fallback answers; {scene.expected}"
    return replace(scene, ok=scene.ok and receipt.ok, expected=expected, receipt=receipt, words=words)


def _unguarded(primary: Target) -> Scene:
    words = f"no circuit guards {primary}: its breaker is disabled, or its recovery_timeout is 0"
    return Scene(ok=True, expected="no circuit", saw="no circuit", words=words, warned=True)


def _until_open(play: Play, targets: Sequence[Target]) -> bool:
    """Ask until these circuits are open, but no more often than it may take."""
    most = max((play.rules(target).failure_threshold for target in targets), default=0)
    for _ in range(most):
        if all(map(play.is_open, targets)):
            break
        play.ask()
    return all(map(play.is_open, targets))


def _degrades(cast: Cast) -> bool:
    return any(isinstance(step, DEGRADES) for step in cast.feature.degrade)


def _told(receipt: Receipt) -> str:
    if receipt.error is not None:
        return f"no answer (exit {receipt.error.code}, {receipt.error.kind})"
    return f"{receipt.target or receipt.source} answered (tier {receipt.tier})"


def _who(receipt: Receipt) -> str:
    return f"{receipt.target or receipt.source} answers, tier {receipt.tier}"


def _why(receipt: Receipt, target: Target) -> str:
    """What stood in the way of a target."""
    line = next((entry for entry in receipt.trail if entry.target == target), None)
    return f"{line.outcome} ({line.note})" if line else "it is not in the chain"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 2):g} s"
