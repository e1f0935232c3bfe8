"""What both clients have besides asking, and how a receipt becomes an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmfail.core.errors import (
    AskError,
    CredentialsMissing,
    DeadlinePassed,
    IncompleteAnswer,
    OverBudget,
    RequestRefused,
    Unavailable,
    UsageError,
)
from llmfail.core.receipt import Receipt
from llmfail.engine.ports import ports
from llmfail.settings.schema.settings import Settings
from llmfail.store.failover import Guarded

if TYPE_CHECKING:
    from llmfail.core.pricing.usage_record import Entry
    from llmfail.core.pricing.usage_report import By, Days, Report
    from llmfail.engine.operator import Operator

_ERRORS: dict[int, type[AskError]] = {
    error.exit_code: error
    for error in (
        Unavailable,
        OverBudget,
        RequestRefused,
        CredentialsMissing,
        DeadlinePassed,
        IncompleteAnswer,
    )
}


def checked(receipt: Receipt) -> Receipt:
    """The receipt, or the error that it tells of."""
    if receipt.error is None:
        return receipt
    raise _ERRORS[receipt.error.code](receipt)


def operator(settings: Settings, used: ports.Ports) -> Operator:
    from llmfail.engine.operator import Operator

    return Operator(settings, used)


async def usage(settings: Settings, used: ports.Ports, by: By, days: Days | None) -> Report:
    from llmfail.engine.reports import usage_query

    return await usage_query.usage(settings, used, by, days or usage_query.USUAL)


async def recorded_usage(settings: Settings, used: ports.Ports, days: Days | None) -> list[Entry]:
    from llmfail.engine.reports import usage_query

    return await usage_query.recorded(settings, used, days or usage_query.USUAL)


def recorded(names: tuple[str, ...], store: Guarded) -> tuple[str, ...]:
    """What an operator does has no effect but the record of it."""
    if store.down:
        raise UsageError("nothing was recorded: the state cannot be written; see the warning, or --state-dir")
    return names
