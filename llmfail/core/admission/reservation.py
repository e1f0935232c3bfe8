"""What money and rate limits allow of one call: its worst case is held in every budget that covers it and its
place taken in every limit, or nothing at all. Pure changes, made by ``gate`` in the same step as the
circuit's.

What a call counts of its target's tokens is learnt here too, since the worst case rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission import budget as budgets
from llmfail.core.admission import rate_limit
from llmfail.core.admission.budget import Cover, OpenCall, Spending
from llmfail.core.admission.rate_limit import Flow, Limit
from llmfail.core.admission.refusal import Refused
from llmfail.core.model import Target, Usage
from llmfail.core.pricing import price
from llmfail.core.pricing.price import Rates
from llmfail.core.receipt import Skip, iso, usd
from llmfail.core.records import name_list
from llmfail.core.records.record import (
    Step,
    Values,
    Write,
    Writes,
    dump,
    kept_until,
    load,
    newer,
    ours,
    recall,
)
from llmfail.core.tokens import token_bounds as tokens
from llmfail.core.tokens.token_bounds import Calibration, Size

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

    @property
    def is_limited(self) -> bool:
        """Whether anybody minds what it costs."""
        return bool(self.covers) or self.most is not None


class NearlySpent(Struct, frozen=True):
    """A budget of which so much is spent that somebody should know."""

    cover: Cover
    spent: int


class Unsettled(Struct, frozen=True):
    """Calls under a budget whose holds have ended before anybody settled them."""

    cover: Cover
    calls: int
    amount: int


Notice = NearlySpent | Unsettled


class Grant(Struct, frozen=True):
    """A call may start ``wait`` seconds after ``at``. ``amount`` is held in each budget, whose records are
    known by ``since``; of each limit on tokens ``tokens`` were taken, until the moments in ``dues``.
    """

    claim: Claim
    at: float
    amount: int = 0
    tokens: int = 0
    wait: float = 0.0
    since: Mapping[str, float] = field(default_factory=dict)
    dues: Mapping[str, float] = field(default_factory=dict)

    @property
    def starts_at(self) -> float:
        return self.at + self.wait


class Paid(Struct, frozen=True):
    """What a call used, None when nothing was reported, and cost, None when nobody knows."""

    usage: Usage | None
    cost: int | None


def calibration_key(target: Target) -> str:
    return f"tokens/{target}"


def call_key(call: str) -> str:
    return f"call/{call}"


def keys(target: Target, limits: Sequence[Limit], claim: Claim) -> tuple[str, ...]:
    return (
        calibration_key(target),
        *(limit.key for limit in limits),
        *_keys_of_budgets(claim),
    )


def _keys_of_budgets(claim: Claim) -> tuple[str, ...]:
    held = (call_key(claim.call),) if claim.covers else ()
    return (*held, *(key for cover in claim.covers for key in cover.keys))


def calibration(target: Target, values: Values) -> Calibration:
    """What is known of how a target counts."""
    return load(values[calibration_key(target)], Calibration) or tokens.fresh(target)


def spending_of(cover: Cover, values: Values, now: float) -> Spending:
    """A budget as it stands now, with what the period before has lost at its end; ``values`` must have all
    keys of the cover.
    """
    spending = budgets.begun(load(values[cover.key], Spending), now)
    lost = budgets.ended(before, now) if (before := _before(cover, values)) else budgets.NOTHING
    return replace(spending, unsettled=spending.unsettled + lost) if lost.calls else spending


def _before(cover: Cover, values: Values) -> Spending | None:
    return load(values[cover.before], Spending) if cover.before else None


def admit(
    target: Target, limits: Sequence[Limit], claim: Claim, values: Values, now: float
) -> tuple[dict[str, Write | None], Grant] | Refused:
    if not claim.is_limited and not limits:
        return {}, Grant(claim, now)
    known = calibration(target, values)
    amount = _worst(claim, known) if claim.is_limited else 0
    spent = {cover: spending_of(cover, values, now) for cover in claim.covers}
    refused = _too_dear(claim, amount, spent, values)
    if refused is not None:
        return refused
    flows = {limit: recall(values[limit.key], Flow) for limit in limits}
    wait = max((rate_limit.wait(flow, limit, now) for limit, flow in flows.items()), default=0.0)
    if wait > claim.patience:
        return _too_fast(flows, wait, now)
    counted = tokens.expected(claim.size, known) + claim.output
    taken = {
        limit: rate_limit.take(flow, limit, counted if limit.unit == "tokens" else 1, now + wait, now)
        for limit, flow in flows.items()
    }
    grant = Grant(
        claim=claim,
        at=now,
        amount=amount or 0,
        tokens=counted,
        wait=wait,
        since={cover.key: spending.since for cover, spending in spent.items()},
        dues={limit.key: flow.due_at for limit, flow in taken.items() if limit.unit == "tokens"},
    )
    writes = {limit.key: _flow_write(flow, now) for limit, flow in taken.items()}
    return {**writes, **_held(grant, spent, values)}, grant


def settle(
    target: Target, limits: Sequence[Limit], grant: Grant, paid: Paid, values: Values, now: float
) -> dict[str, Write | None]:
    """A cost that nobody knows counts as what was held for it."""
    writes = _settled(grant, grant.amount if paid.cost is None else paid.cost, values, now)
    usage = paid.usage
    if usage is not None and not usage.estimated:
        writes |= _corrected(limits, grant, usage.input_tokens + usage.output_tokens, values, now)
        writes |= _learnt(target, grant.claim.size, usage, values, now)
    elif paid.cost == 0:
        writes |= _corrected(limits, grant, 0, values, now)
    return writes


def withdraw(claim: Claim) -> Step:
    """Give back what a call holds that was never made, if it does hold anything."""
    return Step(_keys_of_budgets(claim), partial(_withdraw, claim))


def notices(covers: Sequence[Cover], before: Values, after: Writes) -> tuple[Notice, ...]:
    """What these writes give notice of. Calls that were lost under several budgets are told of once."""
    found: list[Notice] = []
    for cover in covers:
        write = after.get(cover.key)
        old, new = recall(before[cover.key], Spending), load(write.text, Spending) if write else None
        if new is None:
            continue
        if new.warned and not old.warned:
            found.append(NearlySpent(cover, new.spent))
        calls = new.unsettled.calls - old.unsettled.calls
        if calls > 0 and not any(isinstance(one, Unsettled) for one in found):
            found.append(Unsettled(cover, calls, new.unsettled.amount - old.unsettled.amount))
    return tuple(found)


def _held(grant: Grant, spent: Mapping[Cover, Spending], values: Values) -> dict[str, Write | None]:
    """The worst case in every budget, and the call itself."""
    if not spent:
        return {}
    ends_at = budgets.ending(grant.starts_at + grant.claim.lasts)
    call = OpenCall(grant.amount, ends_at)
    kept = kept_until(ends_at + budgets.KEPT_AFTER)
    writes: dict[str, Write | None] = {call_key(grant.claim.call): Write(dump(call), kept)}
    for cover, spending in spent.items():
        writes |= _spending_writes(cover, budgets.hold(spending, call), values, grant.at)
    return writes


def _settled(grant: Grant, cost: int, values: Values, now: float) -> dict[str, Write | None]:
    """A call without a record has been settled, but for budgets whose own records were lost since."""
    covers = grant.claim.covers
    if not covers:
        return {}
    key = call_key(grant.claim.call)
    call = load(values[key], OpenCall)
    writes: dict[str, Write | None] = {} if call is None else {key: None}
    for cover in covers:
        spending = spending_of(cover, values, now)
        if call is not None:
            spending = budgets.settle(spending, call, cost)
        elif spending.since != grant.since[cover.key]:
            spending = replace(spending, spent=spending.spent + cost)
        else:
            continue
        writes |= _spending_writes(cover, budgets.warned(spending, cover), values, now)
    return writes


def _withdraw(claim: Claim, values: Values, now: float) -> Writes:
    key = call_key(claim.call)
    call = load(values[key], OpenCall) if claim.covers else None
    if call is None:
        return {}
    writes: dict[str, Write | None] = {key: None}
    for cover in claim.covers:
        writes |= _spending_writes(cover, budgets.release(spending_of(cover, values, now), call), values, now)
    return ours(writes, values)


def _corrected(
    limits: Sequence[Limit], grant: Grant, used: int, values: Values, now: float
) -> dict[str, Write]:
    """Limits on tokens, by what the call took of them."""
    return {
        limit.key: _flow_write(
            rate_limit.correct(
                recall(values[limit.key], Flow), limit, used - grant.tokens, grant.dues[limit.key], now
            ),
            now,
        )
        for limit in limits
        if limit.unit == "tokens"
    }


def _worst(claim: Claim, known: Calibration) -> int | None:
    if claim.rates is None:
        return None
    return price.most(claim.rates, tokens.most(claim.size, known), claim.output)


def _too_dear(
    claim: Claim, amount: int | None, spent: Mapping[Cover, Spending], values: Values
) -> Refused | None:
    if amount is None:
        refused = claim.most is not None or not claim.allow_unknown
        note = "its price is unknown: set one in `models`" + ", or on_unknown_price: allow" * (
            claim.most is None
        )
        return Refused(Skip.UNKNOWN_PRICE, None, note) if refused else None
    if claim.most is not None and amount > claim.most:
        note = f"it may cost ${usd(amount)}, and --max-cost leaves ${usd(max(claim.most, 0))}"
        return Refused(Skip.TOO_EXPENSIVE, None, note)
    for cover, spending in spent.items():
        if newer(values[cover.key]):
            note = f"budget {cover.label} was written by a newer llmfail; upgrade"
            return Refused(Skip.OVER_BUDGET, None, note)
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
    limit = max(flows, key=lambda one: rate_limit.wait(flows[one], one, now))
    note = f"{limit.per_minute} {limit.unit} a minute at {limit.name}: the next may start in {wait:.1f} s"
    return Refused(Skip.RATE_LIMITED_HERE, now + wait, note)


def _learnt(target: Target, size: Size, usage: Usage, values: Values, now: float) -> dict[str, Write]:
    if size.expected < tokens.SMALLEST_SAMPLE:
        return {}
    known = calibration(target, values)
    after = tokens.learn(known, size, usage.input_tokens)
    if after == known:
        return {}
    return {calibration_key(target): Write(dump(after), kept_until(now + CALIBRATION_KEPT))}


def _spending_writes(cover: Cover, spending: Spending, values: Values, now: float) -> dict[str, Write | None]:
    """What the period before has lost is told once: with it, that record forgets it."""
    writes: dict[str, Write | None] = {cover.key: Write(dump(spending), cover.expires_at)}
    before = _before(cover, values)
    if cover.before and before is not None and budgets.ended(before, now).calls:
        writes[cover.before] = Write(dump(budgets.begun(before, now)), cover.expires_at)
    if cover.roll and values[cover.key] is None:
        writes |= name_list.enlist(cover.roll, cover.bucket, values, cover.expires_at)
    return writes


def _flow_write(flow: Flow, now: float) -> Write:
    return Write(dump(flow), kept_until(rate_limit.expires_at(flow, now)))
