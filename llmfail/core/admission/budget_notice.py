"""What people should know of a budget: so much is spent, or calls were never settled."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.admission.budget import BudgetScope, Spending
from llmfail.core.records.record import Values, Writes, load, load_or_default


class BudgetWarning(Struct, frozen=True):
    """A budget of which so much is spent that its warning is due."""

    scope: BudgetScope
    spent: int


class UnsettledCalls(Struct, frozen=True):
    """Calls in a budget whose holds ended before they were settled."""

    scope: BudgetScope
    calls: int
    amount: int


BudgetNotice = BudgetWarning | UnsettledCalls


def collect_notices(scopes: Sequence[BudgetScope], before: Values, after: Writes) -> tuple[BudgetNotice, ...]:
    """The notices that these writes give cause for. Calls that several budgets lost are reported once."""
    found: list[BudgetNotice] = []
    for scope in scopes:
        write = after.get(scope.key)
        old, new = load_or_default(before[scope.key], Spending), load(write.text, Spending) if write else None
        if new is None:
            continue
        if new.warned and not old.warned:
            found.append(BudgetWarning(scope, new.spent))
        calls = new.unsettled.calls - old.unsettled.calls
        if calls > 0 and not any(isinstance(notice, UnsettledCalls) for notice in found):
            found.append(UnsettledCalls(scope, calls, new.unsettled.amount - old.unsettled.amount))
    return tuple(found)
