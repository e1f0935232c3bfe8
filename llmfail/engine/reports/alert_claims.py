"""The book of alerts in the store: one process of the fleet claims what is to be told, and ends its claim."""

from __future__ import annotations

from collections.abc import Sequence

from llmfail.core.records.record import Values, Write, Writes, dump, load_or_default, without_newer
from llmfail.core.records.state_keys import alert_book_key
from llmfail.core.reports.alert_notice import (
    AlertBook,
    AlertNotice,
    claim_notices,
    end_claims,
    list_alerts,
    list_undecided,
)
from llmfail.core.reports.status import Status
from llmfail.core.reports.watch_event import AlertLevel, AlertRaised, AlertResolved
from llmfail.engine.ports.protocols import Ports


async def read_alert_book(ports: Ports, configuration: str) -> AlertBook:
    key = alert_book_key(configuration)
    values, _ = await ports.store.read([key])
    return load_or_default(values[key], AlertBook)


async def claim_alert_notices(
    ports: Ports, configuration: str, status: Status, before: AlertBook, holder: str
) -> tuple[AlertNotice, ...] | None:
    """What this process has to tell of that status; who listens is told. ``before`` is the book as it was
    before the status was read: None where another has told something since, which it may not know of.
    """
    key = alert_book_key(configuration)
    alerts, undecided = list_alerts(status), list_undecided(status)

    def change(values: Values, now: float) -> tuple[Writes, tuple[AlertNotice, ...] | None]:
        book = load_or_default(values[key], AlertBook)
        if book.changed_at != before.changed_at:
            return {}, None
        after, claimed = claim_notices(book, alerts, now, holder, undecided)
        return ({} if after is book else _write(key, after, values)), claimed

    notices = await ports.store.update([key], change)
    listener = ports.active_listener
    if listener is not None and notices is not None:
        for one in notices:
            kind = AlertRaised if one.state == "raised" else AlertResolved
            level: AlertLevel = "critical" if one.level == "critical" else "warning"
            event = kind(one.at, "", one.alert, level, one.value, one.threshold, one.message)
            listener.tell(event)
    return notices


async def end_alert_claims(
    ports: Ports, configuration: str, notices: Sequence[AlertNotice], holder: str
) -> None:
    key = alert_book_key(configuration)

    def change(values: Values, _now: float) -> tuple[Writes, None]:
        book = load_or_default(values[key], AlertBook)
        return _write(key, end_claims(book, notices, holder), values), None

    await ports.store.update([key], change)


def _write(key: str, book: AlertBook, values: Values) -> Writes:
    return without_newer({key: Write(dump(book))}, values)
