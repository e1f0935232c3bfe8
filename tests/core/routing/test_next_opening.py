"""When a chain can be asked again, by what its gates say."""

import pytest

from llmfail.core.admission.gate import GateView
from llmfail.core.admission.refusal import Refusal
from llmfail.core.receipt import SkipReason
from llmfail.core.routing.next_opening import find_next_opening

NOW = 1000.0
OPEN = GateView("closed", 0, None, None)


def refused(reason, retry_at):
    return GateView("open", 0, retry_at, Refusal(reason, retry_at, ""))


PAUSED = refused(SkipReason.CIRCUIT_OPEN, 1060.0)
SOON_LIMITED = refused(SkipReason.RATE_LIMITED_HERE, 1002.0)
FORCED = refused(SkipReason.FORCED_OPEN, None)
OVER_BUDGET = refused(SkipReason.OVER_BUDGET, 1001.0)


@pytest.mark.parametrize(
    ("views", "opening"),
    [
        ([], None),
        ([FORCED], None),
        ([PAUSED, FORCED], 1060.0),
        ([PAUSED, SOON_LIMITED], 1002.0),
        ([PAUSED, OPEN], NOW),
        ([refused(SkipReason.PROBING, None)], 1001.0),
        ([refused(SkipReason.PROBING, 1000.5)], 1000.5),
        ([refused(SkipReason.PROBING, 1030.0)], 1001.0),
    ],
)
def test_the_first_gate_that_admits_a_call_decides(views, opening):
    assert find_next_opening(views, NOW) == opening


@pytest.mark.parametrize(("views", "opening"), [([OVER_BUDGET], None), ([OVER_BUDGET, PAUSED], 1060.0)])
def test_nobody_waits_for_a_budget(views, opening):
    assert find_next_opening(views, NOW) == opening
