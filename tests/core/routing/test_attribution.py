"""Whose fault a failed call is: the table, row by row."""

import pytest

from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import WireError
from llmfail.core.routing.attribution import (
    BROKEN_OFF_NOTE,
    TIMEOUT_SLACK,
    Attribution,
    Evidence,
    attribute,
    attribute_deadline,
    attribute_network,
    attribute_timeout,
)


@pytest.mark.parametrize(
    ("evidence", "party"),
    [
        (Evidence(Kind.SERVER_ERROR), "target"),
        (Evidence(Kind.TIMEOUT, limit=10.0, fair_share=10.0), "target"),
        (Evidence(Kind.TIMEOUT, limit=9.0, fair_share=10.0), "deadline"),
        (Evidence(Kind.TIMEOUT, limit=9.9901, fair_share=10.0), "target"),
        (Evidence(Kind.TIMEOUT, limit=9.0, fair_share=10.0, is_slow=True), "target"),
        (Evidence(Kind.TIMEOUT, limit=9.0, fair_share=10.0, is_reported=True), "target"),
        (Evidence(Kind.TIMEOUT, is_committed=True), "deadline"),
        (Evidence(Kind.TIMEOUT, noticed_late=TIMEOUT_SLACK + 0.1), "machine"),
        (Evidence(Kind.TIMEOUT, noticed_late=TIMEOUT_SLACK), "target"),
        (Evidence(Kind.CANCELLED), "machine"),
        (Evidence(Kind.NETWORK, is_unreachable=True, network_is_proven=False), "network"),
        (Evidence(Kind.NETWORK, is_unreachable=True, network_is_proven=True), "target"),
    ],
)
def test_each_kind_of_evidence_points_at_one_party(evidence, party):
    assert attribute(evidence) == Attribution(party)


def test_a_timeout_that_was_noticed_late_is_a_standstill_of_this_process():
    late = WireError("timeout", "no answer")
    assert attribute_timeout(late, ends_at=10.0, now=10.5) is late
    assert attribute_timeout(late, ends_at=10.0, now=12.0).cause == "standstill"
    reset = WireError("reset", "gone")
    assert attribute_timeout(reset, ends_at=10.0, now=99.0) is reset


def test_a_deadline_that_left_too_little_time_cancels_the_call():
    short = {"is_slow": False, "is_committed": False, "limit": 1.5, "fair_share": 10.0}
    found = attribute_deadline(Outcome(Kind.TIMEOUT), **short)
    assert (found.kind, found.note) == (Kind.CANCELLED, "no answer in the 1.5 s that the deadline left")
    shown = attribute_deadline(Outcome(Kind.TIMEOUT), **short | {"is_committed": True})
    assert shown.note == BROKEN_OFF_NOTE


@pytest.mark.parametrize("status", [408, 504, 524])
def test_C3_what_the_provider_reports_is_its_own_word(status):
    reported = Outcome(Kind.TIMEOUT, status=status)
    short = {"is_slow": False, "is_committed": False, "limit": 1.5, "fair_share": 10.0}
    assert attribute_deadline(reported, **short) is reported
    streamed = Outcome(Kind.TIMEOUT, status=200)
    assert attribute_deadline(streamed, **short).kind is Kind.CANCELLED


def test_a_failure_of_our_own_network_counts_for_no_target():
    unreachable = Outcome(Kind.NETWORK, is_unreachable=True)
    assert attribute_network(unreachable, is_proven=True) is unreachable
    assert attribute_network(unreachable, is_proven=False).kind is Kind.CANCELLED
    assert attribute_network(Outcome(Kind.TIMEOUT), is_proven=False).kind is Kind.TIMEOUT
