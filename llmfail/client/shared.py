"""What both clients have besides asking, and how a receipt becomes an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

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
from llmfail.engine.ports.protocols import Ports, StoreInfo
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.evaluation.experiment_report import ExperimentReport
    from llmfail.core.pricing.usage_record import UsageEntry
    from llmfail.core.pricing.usage_report import DayRange, GroupBy, UsageReport
    from llmfail.core.records.feedback_bucket import FeedbackEntry
    from llmfail.core.reports.cost_estimate import Estimate
    from llmfail.core.reports.scenario import EstimateRequest
    from llmfail.core.reports.status import Status
    from llmfail.engine.operator import Operator

T = TypeVar("T")

_ERROR_CLASSES: dict[int, type[AskError]] = {
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


def raise_for_error(receipt: Receipt) -> Receipt:
    """The receipt, or the error that it tells of."""
    if receipt.error is None:
        return receipt
    raise _ERROR_CLASSES[receipt.error.code](receipt)


def operator_of(settings: Settings, client_ports: Ports) -> Operator:
    from llmfail.engine.operator import Operator

    return Operator(settings, client_ports)


async def load_metrics_text(settings: Settings, client_ports: Ports, status: Status) -> str:
    from llmfail.engine.reports.metrics_query import load_metrics
    from llmfail.metrics_text import format_metrics

    return format_metrics(await load_metrics(settings, client_ports, status))


async def load_usage_report(
    settings: Settings, client_ports: Ports, by: GroupBy, days: DayRange | None
) -> UsageReport:
    from llmfail.engine.reports import usage_query

    return await usage_query.load_usage_report(settings, client_ports, by, days or usage_query.DEFAULT_DAYS)


async def load_usage_records(
    settings: Settings, client_ports: Ports, days: DayRange | None
) -> list[UsageEntry]:
    from llmfail.engine.reports import usage_query

    return await usage_query.load_usage_records(settings, client_ports, days or usage_query.DEFAULT_DAYS)


async def load_log(client_ports: Ports, most: int) -> list[dict[str, Any]]:
    from llmfail.engine.reports import experiment_query

    return await experiment_query.load_log(client_ports, most)


async def record_feedback(client_ports: Ports, id_: str, score: float | str) -> FeedbackEntry:
    from llmfail.engine.reports import experiment_query

    return await experiment_query.record_feedback(client_ports, id_, score)


async def load_experiment_report(settings: Settings, client_ports: Ports, name: str) -> ExperimentReport:
    from llmfail.engine.reports import experiment_query

    return await experiment_query.load_experiment_report(settings, client_ports, name)


async def estimate(
    settings: Settings, client_ports: Ports, store: StoreInfo, wanted: EstimateRequest
) -> Estimate:
    from llmfail.engine.reports.estimator import Estimator

    if "actual" in wanted.scenarios:
        require_readable(await client_ports.store.read(()), store)
    return await Estimator(settings, client_ports).estimate(wanted)


def require_readable(found: T, store: StoreInfo) -> T:
    """What was read, unless it was read of nothing: what nobody knows is not zero."""
    if store.is_down:
        raise UsageError("what was recorded cannot be read; see the warning, or --state-dir")
    return found


def require_recorded(done: T, store: StoreInfo) -> T:
    """What an operator does or a user says has no effect but the record of it."""
    if store.is_down:
        raise UsageError("nothing was recorded: the state cannot be written; see the warning, or --state-dir")
    return done
