"""What a call asks of the budgets and rate limits of its target, and what they have promised it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from llmfail.core.admission.budget import BudgetScope, ReservationRecord
from llmfail.core.pricing import price
from llmfail.core.pricing.price import Rates
from llmfail.core.tokens import token_bounds as tokens
from llmfail.core.tokens.token_bounds import PromptSize


class ReservationRequest(Struct, frozen=True):
    """What a call asks for. ``call_id`` is unique; its hold and its lease last ``lease_seconds`` from its
    start, which may be ``max_wait`` seconds away. ``max_cost`` is what the caller's own limit leaves for it,
    in pico-dollars. ``rates`` is None when the price is unknown.
    """

    call_id: str
    lease_seconds: float
    feature: str
    size: PromptSize
    output_tokens: int
    rates: Rates | None = None
    scopes: tuple[BudgetScope, ...] = ()
    max_cost: int | None = None
    allow_unknown: bool = False
    max_wait: float = 0.0
    ask_id: str = ""
    """The ask, where a circuit that ramps may leave it to another target."""
    is_probe: bool = False
    """It is made to know how the target is."""
    is_forced: bool = False
    """Somebody wants to know, whatever is known of the target; limits and budgets hold all the same."""

    @property
    def is_priced(self) -> bool:
        """Whether any limit on its cost applies."""
        return self.max_cost is not None or any(scope.unit == "usd" for scope in self.scopes)

    @property
    def max_tokens(self) -> int:
        """What it may use at worst."""
        return tokens.upper_bound(self.size) + self.output_tokens

    @property
    def max_charge(self) -> int | None:
        """Pico-dollars that it may cost at worst, 0 where no limit on its cost applies; None where its
        price is not known and matters.
        """
        if not self.is_priced:
            return 0
        if self.rates is None:
            return None
        return price.worst_case(self.rates, tokens.upper_bound(self.size), self.output_tokens)

    def to_record(self, amount: int, ends_at: int = 0) -> ReservationRecord:
        """It as a call that may cost so much. Its tokens are counted where a budget counts tokens."""
        counts_tokens = any(scope.unit == "tokens" for scope in self.scopes)
        return ReservationRecord(amount, ends_at, self.max_tokens if counts_tokens else 0)


class Reservation(Struct, frozen=True):
    """A call may start ``wait`` seconds after ``at``. It may cost ``amount``, in pico-dollars;
    ``budgets_since`` tells whether a budget's record is still the same. ``tokens`` are reserved in each limit
    on tokens, until the moments in ``limits_due_at``.
    """

    request: ReservationRequest
    at: float
    amount: int = 0
    tokens: int = 0
    wait: float = 0.0
    budgets_since: Mapping[str, float] = field(default_factory=dict)
    limits_due_at: Mapping[str, float] = field(default_factory=dict)

    @property
    def starts_at(self) -> float:
        return self.at + self.wait
