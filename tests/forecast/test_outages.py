"""Outages are what a file, the log or chance say, and never overlap."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.forecast.outage_file import parse_outages
from llmfail.forecast.outages import (
    Outage,
    OutageHistory,
    OutageKind,
    OutagePlan,
    OutageRate,
    RecordedOutage,
    draw_histories,
    estimate_rates,
    require_known_names,
)

A1, A2, B = Target("a", "one"), Target("a", "two"), Target("b", "one")
MONTH = 30 * 86400.0


def test_a_file_gives_rates_and_what_was():
    plan = parse_outages(
        {
            "outages": [
                {"target": "a", "availability": 0.99, "mttr": "20m"},
                {
                    "target": "b/one",
                    "from": "2026-11-01T10:00Z",
                    "until": "2026-11-01T11:00Z",
                    "kind": "slow",
                },
            ]
        },
        {},
    )
    assert plan.rates == (OutageRate("a", 0.99, 1200.0),)
    assert plan.recorded == (RecordedOutage("b/one", 1793527200.0, 1793530800.0, OutageKind.SLOW),)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"target": "a"}, "availability"),
        ({"target": "a", "availability": 2}, "a number above 0, at most 1, got 2"),
        ({"availability": 0.5}, "target is missing"),
        ("openai", "expected an outage such as"),
        ({"target": "a", "availability": 0.5, "mttr": "soon"}, "duration"),
        ({"target": "a", "availability": 0.5, "from": "2026-11-01T10:00Z"}, "not both"),
        ({"target": "a", "from": "2026-11-01T10:00Z"}, "until"),
        ({"target": "a", "from": "2026-11-01T10:00Z", "until": "2026-11-01T09:00Z"}, "not after"),
        ({"target": "a", "availabilty": 0.9}, "did you mean availability"),
        ({"target": "a", "availability": 0.9, "kind": "odd"}, "odd"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_its_reason(entry, said):
    with pytest.raises(ValueError, match=rf"^line 7: outage 1.*: .*{said}"):
        parse_outages({"outages": [entry]}, {("outages", 0): 7})


@pytest.mark.parametrize("document", [{}, {"outages": []}, None, [], "x"])
def test_a_file_without_outages_is_refused(document):
    with pytest.raises(ValueError, match=r"."):
        parse_outages(document, {})


def test_two_providers_of_99_percent_are_down_together_in_one_of_ten_thousand():
    plan = OutagePlan(rates=(OutageRate("a", 0.99), OutageRate("b", 0.99)))
    assert plan.compute_availability([A1, B]) == pytest.approx(0.9999)
    assert plan.compute_availability([A1, A2]) == pytest.approx(0.99), "models of a provider go together"
    assert plan.compute_availability([Target("c", "x")]) == 1.0
    models = OutagePlan(rates=(OutageRate("a/one", 0.9), OutageRate("a/two", 0.9)))
    assert models.compute_availability([A1, A2]) == pytest.approx(0.99)
    assert OutagePlan().compute_availability([A1]) is None


def test_an_outage_of_nobody_is_refused():
    with pytest.raises(UsageError, match="opena"):
        require_known_names(OutagePlan(rates=(OutageRate("opena", 0.9),)), [B])


def test_what_is_drawn_has_the_availability_and_the_length_that_were_said():
    plan = OutagePlan(rates=(OutageRate("b", 0.95, 600.0),))
    [outages] = [one.outages for one in draw_histories(plan, [B], 20 * MONTH, Random(1)).values()]
    down = sum(one.end - one.start for one in outages)
    assert 0.04 < down / (20 * MONTH) < 0.06
    assert 550 < down / len(outages) < 650


def test_the_models_of_a_provider_go_down_together_and_a_target_alone_as_well():
    plan = OutagePlan(rates=(OutageRate("a", 0.99), OutageRate("a/two", 0.99)))
    histories = draw_histories(plan, [A1, A2, B], MONTH, Random(1))
    for outage in histories[A1].outages:
        assert histories[A2].find(outage.start) is not None
    assert len(histories[A2].outages) > len(histories[A1].outages)
    assert not histories[B].outages


@given(
    st.lists(
        st.builds(
            lambda start, length, kind: Outage(float(start), float(start + length), kind),
            st.integers(0, 50),
            st.integers(1, 20),
            st.sampled_from(OutageKind),
        )
    )
)
def test_at_each_moment_the_outage_holds_that_began_last(outages):
    history = OutageHistory(outages)
    for moment in range(75):
        active = sorted(one for one in outages if one.start <= moment < one.end)
        assert history.find(moment) == (active[-1].kind if active else None)


def row(second, *entries):
    trail = [{"target": target, "action": "called", "outcome": outcome} for target, outcome in entries]
    return {"at": f"2026-11-01T10:00:{second:02}Z", "trail": trail}


def test_the_log_gives_rates_of_outages_from_the_first_of_two_failures_to_the_next_success():
    rows = [
        row(0, ("a/one", "ok")),
        row(10, ("a/one", "server_error"), ("b/one", "ok")),
        row(20, ("a/one", "timeout"), ("b/one", "server_error")),
        row(30, ("a/one", "auth"), ("b/one", "ok")),
        row(40, ("a/one", "ok")),
    ]
    [rate] = estimate_rates(rows).rates
    assert (rate.name, rate.mttr) == ("a/one", 30.0)
    assert rate.availability == pytest.approx(0.25)
    assert estimate_rates(rows[:1]) == estimate_rates([]) == OutagePlan()
