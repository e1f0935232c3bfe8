"""The scenes of an outage, played on every feature: what the configuration promises, and what was seen.

A scene is a function of a Play. It brings about its own beginnings, so each can be played alone, and it
counts requests where they arrive: at the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.drill.play import Cast, Play, cast_of, theatre
from llmfail.settings.settings import Settings
from llmfail.settings.types import Feature, Step

DEGRADES: tuple[type[Step], ...] = ()
"""The degrade steps that answer when every model is down. This version carries none of them out."""
RETRY_AFTER = 30.0
"""What the rate-limited provider of the drill asks for, in seconds."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a scene showed. ``words`` are its part of the verdict; ``warned`` says that nothing promised is
    broken, but that somebody should know. ``requests`` are those of the part that was judged.
    """

    ok: bool
    expected: str
    saw: str
    target: Target | None
    tier: int
    requests: Mapping[Target, int]
    words: str = ""
    warned: bool = False
    feature: str = ""
    name: str = ""


def features_of(settings: Settings, names: Iterable[str]) -> tuple[Feature, ...]:
    """The features by name or alias, each once; all of them without names. Raises UnknownName."""
    chosen = [settings.feature(name) for name in names] or settings.features.values()
    return tuple({feature.name: feature for feature in chosen}.values())


def scenes_of(names: Sequence[str]) -> tuple[str, ...]:
    """The scenes by name, in the order of the story; all of them without names. Raises UsageError."""
    for name in names:
        if name not in SCENES:
            from difflib import get_close_matches  # noqa: PLC0415 - start-up

            near = get_close_matches(name, SCENES, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"there is no scenario {name!r}{meant} (there are: {', '.join(SCENES)})")
    return tuple(name for name in SCENES if name in names or not names)


def perform(settings: Settings, features: Iterable[Feature], scenes: Sequence[str]) -> Iterator[Scene]:
    """Every scene of every feature. A feature that does not work on a healthy day has no other scene."""
    with theatre(settings) as house:
        for feature in features:
            cast = cast_of(settings, house, feature)
            if cast is None:
                yield _empty(feature)
                continue
            for name in dict.fromkeys(("healthy", *scenes)):
                scene = replace(SCENES[name](Play(house, cast)), feature=feature.name, name=name)
                if name in scenes or not scene.ok:
                    yield scene
                if name == "healthy" and not scene.ok:
                    break


def _empty(feature: Feature) -> Scene:
    words = "no target: name a primary, or add models"
    return Scene(False, "an answer", "no target", None, 5, {}, words, feature=feature.name, name="healthy")


def _healthy(play: Play) -> Scene:
    receipt = play.ask()
    primary = play.cast.primary
    ok = receipt.target == primary
    words = "" if ok else f"{primary} does not answer even on a healthy day: {_why(receipt, primary)}"
    return _scene(play, receipt, ok, f"{primary} answers", _told(receipt), words)


def _primary_down(play: Play) -> Scene:
    play.strike("503", play.cast.outage)
    receipt = play.ask()
    look = play.look(play.cast.primary)
    counted = look.failures > 0 or not play.cast.rules.enabled
    saw = f"{_told(receipt)}; failures counted: {look.failures}"
    words = f"survives an outage of {play.cast.primary.provider} ({_who(receipt)})"
    return _in_trouble(play, receipt, counted, saw, words)


def _circuit_opens(play: Play) -> Scene:
    if not _is_guarded(play, play.cast.primary):
        return _unguarded(play)
    threshold = play.cast.rules.failure_threshold
    primary = play.cast.primary
    opened = _open([primary], play)
    failures = play.requests[primary]
    receipt = play.ask()
    more = play.requests[primary] - failures
    ok = opened and failures <= threshold and more == 0
    expected = f"opens after at most {threshold} failures; then nothing is sent to {primary}"
    saw = f"{'opened' if opened else 'still closed'} after {failures} requests; then {more} more were sent"
    return _scene(play, receipt, ok, expected, saw, "" if ok else f"the circuit of {primary} fails: {saw}")


def _fallback_serves(play: Play) -> Scene:
    if not _is_guarded(play, play.cast.primary):
        return _unguarded(play)
    _open([play.cast.primary], play)
    play.count_anew()
    receipt = play.ask()
    spared = play.requests[play.cast.primary] == 0
    return _in_trouble(play, receipt, spared, f"{_told(receipt)}; {_sent(play)}")


def _recovery(play: Play) -> Scene:
    if not _is_guarded(play, play.cast.primary):
        return _unguarded(play)
    primary, trials = play.cast.primary, play.cast.rules.success_threshold
    _open([primary], play)
    wait = (play.look(primary).retry_at or play.clock.now) - play.clock.now
    play.strike("none")
    play.clock.move(wait)
    play.count_anew()
    receipts = [play.ask() for _ in range(trials)]
    closed = play.look(primary).state == "closed"
    sent = play.requests[primary]
    ok = closed and sent == trials and all(receipt.target == primary for receipt in receipts)
    expected = f"{trials} trials after {wait:g} s close the circuit"
    saw = f"{'closed' if closed else 'not closed'} after {sent} trials"
    words = f"recovers after {wait:g} s by {trials} trial{'s' if trials > 1 else ''}"
    return _scene(play, receipts[-1], ok, expected, saw, words if ok else f"does not recover: {saw}")


def _rate_limit(play: Play) -> Scene:
    primary = play.cast.primary
    play.strike(f"429:{RETRY_AFTER:g}", [primary.provider])
    play.ask()
    first = play.requests[primary]
    retry_at = play.look(primary).retry_at
    wait = 0.0 if retry_at is None else retry_at - play.clock.now
    receipt = play.ask()
    kept = play.requests[primary] == first and abs(wait - RETRY_AFTER) < 1e-3
    saw = f"{_told(receipt)}; left alone for {wait:g} s after {first} requests"
    return _in_trouble(play, receipt, kept or not play.cast.rules.enabled, saw)


def _hang(play: Play) -> Scene:
    play.strike("hang", play.cast.outage)
    started = play.clock.now
    receipt = play.ask()
    took = play.clock.now - started
    return _in_trouble(play, receipt, True, f"{_told(receipt)} after {took:g} s", f"a hang costs {took:g} s")


def _bad_key(play: Play) -> Scene:
    provider = play.cast.primary.provider
    play.strike("auth", [provider])
    play.ask()
    first = _at(provider, play)
    receipt = play.ask()
    more = _at(provider, play) - first
    saw = f"{_told(receipt)}; {first} requests with the bad key, then {more} more"
    return _in_trouble(play, receipt, more == 0, saw)


def _everything_down(play: Play) -> Scene:
    guarded = [target for target in play.cast.chain if _is_guarded(play, target)]
    play.strike("503")
    _open(guarded, play, fault="503")
    play.count_anew()
    receipt = play.ask()
    if any(isinstance(step, DEGRADES) for step in play.cast.feature.degrade):
        ok, expected = receipt.ok and receipt.tier == 4, "a degraded answer"
    else:
        code = receipt.error.code if receipt.error else 0
        ok, expected = code == 3 and (receipt.retry_at is not None or not guarded), "exit 3 and when to retry"
    when = _when(receipt, play)
    return _scene(
        play, receipt, ok, expected, f"{_told(receipt)}{when}", f"everything down: {_outcome(receipt)}{when}"
    )


SCENES: Mapping[str, Callable[[Play], Scene]] = {
    "healthy": _healthy,
    "primary-down": _primary_down,
    "circuit-opens": _circuit_opens,
    "fallback-serves": _fallback_serves,
    "recovery": _recovery,
    "rate-limit": _rate_limit,
    "hang": _hang,
    "bad-key": _bad_key,
    "everything-down": _everything_down,
}
"""In the order of the story."""
