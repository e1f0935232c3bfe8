"""What money and rate limits allow of one call: its worst case is held in every budget that covers it and its
place taken in every limit, or nothing at all. Pure changes, made by ``gate`` in the same step as the
circuit's.

What a call counts of its target's tokens is learnt here too, since the worst case rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from llmfail.core import budget as budgets
from llmfail.core import pricing, rate, roll, tokens
from llmfail.core.budget import Cover, Hold, Spending
from llmfail.core.model import Target, Usage
from llmfail.core.pricing import Rates
from llmfail.core.rate import Flow, Limit
from llmfail.core.receipt import Skip, iso, usd
from llmfail.core.record import Values, Write, Writes, dump, kept_until, load, recall
from llmfail.core.refusal import Refused
from llmfail.core.tokens import Calibration, Size

CALIBRATION_KEPT = 180 * 86400.0


class Claim(Struct, frozen=True):
    """What a call asks for. ``call`` is an id that nobody else has; its hold and its lease stand for
    ``lasts`` seconds from its start, which may be ``patience`` seconds away. ``most`` is what the caller's
    own limit leaves for it, in pico-dollars. ``rates`` is None when the price is unknown.
    """

    call: str
    lasts: float
    feature: str
    size: Size
    output: int
    rates: Rates | None = None
    covers: tuple[Cover, ...] = ()
    most: int | None = None
    allow_unknown: bool = False
    patience: float = 0.0


class Unsettled(Struct, frozen=True):
    """A hold that ended before anybody settled it."""

    call: str
    hold: Hold


class Notice(Struct, frozen=True):
    """A budget of which so much is spent that somebody should know."""

    cover: Cover
    spent: int


class Grant(Struct, frozen=True):
    """A call may start ``wait`` seconds after ``at``. ``amount`` is held in each budget, ``tokens`` were
    taken from each limit on tokens; ``unsettled`` came to light.
    """

    claim: Claim
    at: float
    amount: int = 0
    tokens: int = 0
    wait: float = 0.0
    unsettled: tuple[Unsettled, ...] = ()


class Paid(Struct, frozen=True):
    """What a call used, None when nothing was reported, and cost, None when nobody knows."""

    usage: Usage | None
    cost: int | None


def calibration_key(target: Target) -> str:
    return f"tokens/{target}"


def keys(target: Target, limits: Sequence[Limit], covers: Sequence[Cover]) -> tuple[str, ...]:
    return (
        calibration_key(target),
        *(limit.key for limit in limits),
        *(key for cover in covers for key in cover.keys),
    )


def calibration(target: Target, values: Values) -> Calibration:
    """What is known of how a target counts."""
    return load(values[calibration_key(target)], Calibration) or tokens.fresh(target)


def admit(
    target: Target, limits: Sequence[Limit], claim: Claim, values: Values, now: float
) -> tuple[dict[str, Write | None], Grant] | Refused:
    known = calibration(target, values)
    amount = _worst(claim, known)
    spent = {cover: budgets.begun(load(values[cover.key], Spending), now) for cover in claim.covers}
    refused = _too_dear(claim, amount, spent)
    if refused is not None:
        return refused
    counted = tokens.expected(claim.size, known) + claim.output
    flows = {limit: recall(values[limit.key], Flow) for limit in limits}
    wait = max((rate.wait(flow, limit, now) for limit, flow in flows.items()), default=0.0)
    if wait > claim.patience:
        return _too_fast(flows, wait, now)
    writes: dict[str, Write | None] = {}
    for limit, flow in flows.items():
        units = counted if limit.unit == "tokens" else 1
        writes[limit.key] = _flow_write(rate.take(flow, limit, units, now + wait, now), now)
    held = Hold(amount or 0, now + wait + claim.lasts)
    for place, (cover, spending) in enumerate(spent.items()):
        told = budgets.Hold(held.amount, held.until, "" if place else f"{claim.feature} {target}")
        writes |= _spending_writes(cover, budgets.hold(spending, claim.call, told), values)
    return writes, Grant(claim, now, held.amount, counted, wait, _come_to_light(spent, values))


def settle(
    target: Target, limits: Sequence[Limit], grant: Grant, paid: Paid, values: Values, now: float
) -> dict[str, Write | None]:
    """A cost that nobody knows counts as what was held for it."""
    usage = paid.usage
    amount = grant.amount if paid.cost is None else paid.cost
    writes: dict[str, Write | None] = {}
    for cover in grant.claim.covers:
        before = budgets.begun(load(values[cover.key], Spending), now)
        after = budgets.warned(budgets.settle(before, grant.claim.call, grant.at, amount), cover)
        writes |= _spending_writes(cover, after, values)
    if usage is None or usage.estimated:
        return writes
    for limit in limits:
        if limit.unit == "tokens":
            more = usage.input_tokens + usage.output_tokens - grant.tokens
            flow = rate.correct(recall(values[limit.key], Flow), limit, more, now)
            writes[limit.key] = _flow_write(flow, now)
    return writes | _learnt(target, grant.claim.size, usage, values, now)


def release(covers: Sequence[Cover], call: str, values: Values, now: float) -> dict[str, Write | None]:
    """Give back what a call holds that was never made."""
    writes: dict[str, Write | None] = {}
    for cover in covers:
        spending = load(values[cover.key], Spending)
        if spending is not None:
            after = budgets.release(budgets.begun(spending, now), call)
            writes |= _spending_writes(cover, after, values)
    return writes


def notices(covers: Sequence[Cover], before: Values, after: Writes) -> tuple[Notice, ...]:
    """The budgets whose one warning is due with these writes."""
    found = []
    for cover in covers:
        write = after.get(cover.key)
        spending = load(write.text, Spending) if write else None
        if spending is not None and spending.warned and not _warned(before[cover.key]):
            found.append(Notice(cover, spending.spent))
    return tuple(found)


def _worst(claim: Claim, known: Calibration) -> int | None:
    if claim.rates is None:
        return None
    return pricing.most(claim.rates, tokens.most(claim.size, known), claim.output)


def _too_dear(claim: Claim, amount: int | None, spent: Mapping[Cover, Spending]) -> Refused | None:
    if amount is None:
        limited = bool(claim.covers) or claim.most is not None
        note = "its price is unknown: set one in `models`, or on_unknown_price: allow"
        return Refused(Skip.UNKNOWN_PRICE, None, note) if limited and not claim.allow_unknown else None
    if claim.most is not None and amount > claim.most:
        note = f"it may cost ${usd(amount)}, and --max-cost leaves ${usd(max(claim.most, 0))}"
        return Refused(Skip.TOO_EXPENSIVE, None, note)
    for cover, spending in spent.items():
        if not budgets.has_room(spending, cover.limit, amount):
            return Refused(Skip.OVER_BUDGET, cover.ends_at, _over(cover, spending, amount))
    return None


def _over(cover: Cover, spending: Spending, amount: int) -> str:
    held = f" and ${usd(spending.held)} held" if spending.held else ""
    until = f" until {iso(cover.ends_at)}" if cover.ends_at is not None else ""
    return (
        f"it may cost ${usd(amount)}, and of budget {cover.label} ${usd(spending.spent)} are spent{held} "
        f"out of ${usd(cover.limit)}{until}"
    )


def _too_fast(flows: Mapping[Limit, Flow], wait: float, now: float) -> Refused:
    limit = max(flows, key=lambda one: rate.wait(flows[one], one, now))
    note = f"{limit.per_minute} {limit.unit} a minute at {limit.name}: the next may start in {wait:.1f} s"
    return Refused(Skip.RATE_LIMITED_HERE, now + wait, note)


def _come_to_light(spent: Mapping[Cover, Spending], values: Values) -> tuple[Unsettled, ...]:
    """What the records did not know to be unsettled yet; each is told of by one of the budgets only."""
    found = []
    for cover, spending in spent.items():
        stored = load(values[cover.key], Spending)
        known = stored.unsettled if stored else {}
        found += [
            Unsettled(call, hold)
            for call, hold in spending.unsettled.items()
            if hold.call and call not in known
        ]
    return tuple(found)


def _learnt(target: Target, size: Size, usage: Usage, values: Values, now: float) -> dict[str, Write]:
    known = calibration(target, values)
    after = tokens.learn(known, size, usage.input_tokens)
    if after == known:
        return {}
    return {calibration_key(target): Write(dump(after), kept_until(now + CALIBRATION_KEPT))}


def _spending_writes(cover: Cover, spending: Spending, values: Values) -> Writes:
    writes: dict[str, Write | None] = {cover.key: Write(dump(spending), cover.expires_at)}
    if cover.roll and values[cover.key] is None:
        writes |= roll.enlist(cover.roll, cover.bucket, values, cover.expires_at)
    return writes


def _flow_write(flow: Flow, now: float) -> Write:
    return Write(dump(flow), kept_until(rate.expires_at(flow, now)))


def _warned(text: str | None) -> bool:
    spending = load(text, Spending)
    return spending is not None and spending.warned
