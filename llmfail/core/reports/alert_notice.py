"""Which alerts somebody has to be told of: each once when it is raised and once when it is over, by one
process of the fleet. A record remembers what is raised; whoever finds a change claims the telling for a
while, so that it is done by another when its process dies meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.receipt import format_time
from llmfail.core.records.record import Record
from llmfail.core.reports.alert import Alert
from llmfail.core.reports.status import Status

CLAIM_SECONDS = 120.0
"""Seconds for which a telling is claimed; three tries of a webhook take less."""
SIGNATURE_HEADER = "x-llmfail-signature"
AlertState = Literal["raised", "resolved"]


class AlertNotice(Struct, frozen=True):
    """What is told of an alert. ``value`` and ``threshold`` are in the unit of the threshold."""

    alert: str
    level: str
    state: AlertState
    value: float
    threshold: float
    message: str
    at: float

    @property
    def key(self) -> str:
        return f"{self.alert}/{self.state}/{self.level}"

    def matches(self, least: str) -> bool:
        """Whether it is at least so serious."""
        return least == "warning" or self.level == "critical"

    def to_json(self, host: str) -> dict[str, Any]:
        return {
            "alert": self.alert,
            "level": self.level,
            "state": self.state,
            "value": self.value,
            "threshold": self.threshold,
            "message": self.message,
            "at": format_time(self.at),
            "host": host,
        }


class NoticeClaim(Struct, frozen=True):
    """Somebody is telling it until then."""

    notice: AlertNotice
    holder: str
    until: float


class AlertBook(Record, frozen=True):
    """The alerts that are raised, as they were told last, and what is still to be told. ``changed_at``: when
    the last telling was claimed, in epoch seconds.
    """

    raised: Mapping[str, AlertNotice] = field(default_factory=dict)
    claims: Mapping[str, NoticeClaim] = field(default_factory=dict)
    changed_at: float = 0.0


def list_alerts(status: Status) -> tuple[Alert, ...]:
    """Those of ``status``, and a critical one for each feature that nobody can answer; a trial that is under
    way raises none.
    """
    unanswerable = (
        Alert(_name_unanswerable(name), "critical", 1.0, 0.0, f"no target can answer {name} now")
        for name in status.unanswerable
        if name not in status.undecided
    )
    return (*status.alerts, *unanswerable)


def list_undecided(status: Status) -> frozenset[str]:
    """Names of alerts of which only a trial tells whether they are over."""
    return frozenset(map(_name_unanswerable, status.undecided))


def claim_notices(
    book: AlertBook,
    alerts: Iterable[Alert],
    now: float,
    holder: str,
    undecided: AbstractSet[str] = frozenset(),
) -> tuple[AlertBook, tuple[AlertNotice, ...]]:
    """What the holder has to tell: what has changed, and what another began to tell and did not. What is
    ``undecided`` stays as it is.
    """
    current = {alert.name: alert for alert in alerts}
    raised = dict(book.raised)
    news: list[AlertNotice] = []
    for name, alert in current.items():
        if name not in raised or (alert.level, raised[name].level) == ("critical", "warning"):
            raised[name] = _make_notice(alert, now)
            news.append(raised[name])
    over = [name for name in raised if name not in current and name not in undecided]
    news += [replace(raised.pop(name), state="resolved", at=now) for name in over]
    overdue = [claim.notice for claim in book.claims.values() if claim.until <= now]
    told = [one for one in overdue if one.key not in {new.key for new in news}] + news
    if not told:
        return book, ()
    claims = {**book.claims, **{one.key: NoticeClaim(one, holder, now + CLAIM_SECONDS) for one in told}}
    return AlertBook(raised=raised, claims=claims, changed_at=now), tuple(told)


def end_claims(book: AlertBook, notices: Iterable[AlertNotice], holder: str) -> AlertBook:
    """They were told, or cannot be."""
    ended = {one.key for one in notices}
    kept = {key: claim for key, claim in book.claims.items() if key not in ended or claim.holder != holder}
    return replace(book, claims=kept)


def write_body(notice: AlertNotice, style: str, host: str) -> bytes:
    """The body of a webhook: ``json``, or ``slack`` for an incoming webhook of Slack."""
    if style == "json":
        return msgspec.json.encode(notice.to_json(host))
    sign = {"raised": {"critical": ":red_circle:"}.get(notice.level, ":warning:")}.get(
        notice.state, ":large_green_circle:"
    )
    over = "over: " if notice.state == "resolved" else ""
    return msgspec.json.encode({"text": f"{sign} llmfail on {host}: {over}{notice.message} ({notice.level})"})


def sign_body(body: bytes, secret: str) -> str:
    """The value of the signature header: HMAC of the bytes as they are sent."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _name_unanswerable(feature: str) -> str:
    return f"unanswerable {feature}"


def _make_notice(alert: Alert, now: float) -> AlertNotice:
    return AlertNotice(alert.name, alert.level, "raised", alert.value, alert.threshold, alert.message, now)
