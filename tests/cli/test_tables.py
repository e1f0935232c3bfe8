"""How figures look to people."""

import pytest

from llmfail.core.reports.figures import duration, exact_usd, milliseconds, percent, rough_usd

DOLLAR = 10**12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (0.1, "1s"),
        (58.2, "59s"),
        (59.5, "1m00s"),
        (118, "1m58s"),
        (3600, "1h00m"),
        (7500, "2h05m"),
        (86399, "23h59m"),
        (3 * 86400 + 4 * 3600, "3d04h"),
    ],
)
def test_a_wait_has_two_units_at_most(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("latency", "text"),
    [(None, "-"), (0, "0ms"), (999, "999ms"), (1000, "1.0s"), (2140, "2.1s"), (118_400, "118s")],
)
def test_a_latency_has_the_unit_that_fits(latency, text):
    assert milliseconds(latency) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "-"),
        (0, "0%"),
        (1.0, "100%"),
        (0.5833, "58.3%"),
        (0.0001, "<0.1%"),
        (0.9999, ">99.9%"),
        (-0.0001, "0%"),
        (-3.4286, "-342.9%"),
    ],
)
def test_a_share_is_all_or_nothing_only_when_it_is(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("pico", "exact", "rough"),
    [
        (None, "unknown", "unknown"),
        (0, "$0.00", "$0.00"),
        (21 * DOLLAR, "$21.00", "$21.00"),
        (DOLLAR // 2, "$0.50", "$0.5000"),
        (1_750_000_000, "$0.00175", "$0.0018"),
        (1_275_000, "$0.000001275", "<$0.0001"),
        (1_234_567 * DOLLAR + DOLLAR // 8, "$1,234,567.125", "$1,234,567.12"),
    ],
)
def test_money_is_exact_or_short(pico, exact, rough):
    assert (exact_usd(pico), rough_usd(pico)) == (exact, rough)
