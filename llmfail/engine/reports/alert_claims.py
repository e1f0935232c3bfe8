"""The book of alerts in the store: one process of the fleet claims what is to be told, and ends its claim."""

from __future__ import annotations

from collections.abc import Sequence

from llmfail.core.records.record import Values, Write, Writes, dump, load_or_default, without_newer
from llmfail.core.records.state_keys import alert_book_key
from llmfail.core.reports.alert import Alert
from llmfail.core.reports.alert_notice import AlertBook, AlertNotice, claim_notices, end_claims
from llmfail.core.reports.watch_event import AlertLevel, AlertRaised, AlertResolved
from llmfail.engine.ports.protocols import Ports


async def claim_alert_notices(
    ports: Ports, configuration: str, alerts: Sequence[Alert], holder: str
) -> tuple[AlertNotice, ...]:
    """What this process has to tell now; who listens is told."""
    key = alert_book_key(configuration)

    def change(values: Values, now: float) -> tuple[Writes, tuple[AlertNotice, ...]]:
        book = load_or_default(values[key], AlertBook)
        after, claimed = claim_notices(book, alerts, now, holder)
        return ({} if after is book else _write(key, after, values)), claimed

    notices = await ports.store.update([key], change)
    listener = ports.active_listener
    if listener is not None:
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
