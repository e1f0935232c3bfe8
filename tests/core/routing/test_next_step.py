"""Where to go after an attempt, and when the chain is walked again."""

import pytest

from llmfail.core.classification.outcome import CONSEQUENCES, Kind, Outcome
from llmfail.core.conversation import Message
from llmfail.core.model import Request
from llmfail.core.routing.next_step import (
    BACKOFF_CAP_SECONDS,
    AttemptsMade,
    NextTarget,
    RetrySameTarget,
    StopChain,
    compute_backoff,
    decide_next_step,
    decide_round_wait,
)

REQUEST = Request((Message("user", "hi"),), temperature=0.5)


def step(
    kind,
    *,
    made=1,
    allowed=0,
    stop_on_refusal=True,
    dropped=(),
    parameter=None,
    request=REQUEST,
    streamed=False,
    is_refused_by_another_endpoint=False,
):
    tries = AttemptsMade(
        made, allowed, frozenset(dropped), stop_on_refusal, streamed, is_refused_by_another_endpoint
    )
    return decide_next_step(Outcome(kind, parameter=parameter), request, tries, random_number=0.5)


PASSING = ["network", "timeout", "server_error", "overloaded", "malformed"]


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_failure_moves_on_at_once_unless_target_retries_are_left(kind):
    assert step(kind := Kind(kind)) == NextTarget()
    assert isinstance(step(kind, allowed=1), RetrySameTarget)
    assert step(kind, made=2, allowed=1) == NextTarget()


@pytest.mark.parametrize(
    "kind",
    [
        "rate_limited",
        "quota",
        "billing",
        "auth",
        "permission",
        "model_not_found",
        "context_overflow",
        "rejected_answer",
        "cancelled",
    ],
)
def test_the_rest_never_asks_the_same_target_again(kind):
    assert step(Kind(kind), allowed=5) == NextTarget()


@pytest.mark.parametrize("kind", ["refusal", "content_blocked"])
def test_the_feature_decides_after_a_refusal(kind):
    assert step(Kind(kind)) == StopChain()
    assert step(Kind(kind), stop_on_refusal=False) == NextTarget()


def test_a_parameter_that_is_refused_by_name_is_dropped_once():
    assert step(Kind.BAD_REQUEST, parameter="temperature") == RetrySameTarget(0.0, "temperature")
    assert step(Kind.BAD_REQUEST, parameter="temperature", dropped=["temperature"]) == NextTarget()


def test_what_a_stream_alone_is_sent_can_be_dropped_too():
    assert step(Kind.BAD_REQUEST, parameter="stream_options", streamed=True) == RetrySameTarget(
        0.0, "stream_options"
    )


def test_a_parameter_that_was_never_sent_cannot_be_dropped():
    assert step(Kind.BAD_REQUEST, parameter="stop") == NextTarget()
    assert step(Kind.BAD_REQUEST, parameter="stream_options") == NextTarget()


def test_B4_a_refused_request_stops_the_chain_after_two_endpoints():
    assert step(Kind.BAD_REQUEST) == NextTarget()
    assert step(Kind.BAD_REQUEST, is_refused_by_another_endpoint=True) == StopChain()


def test_back_off_is_full_jitter_under_a_cap():
    assert compute_backoff(0, 0.0) == 0.0
    assert compute_backoff(0, 1.0) == 0.5
    assert compute_backoff(3, 1.0) == 4.0
    assert compute_backoff(1000, 1.0) == BACKOFF_CAP_SECONDS


def test_the_chain_is_walked_again_only_for_what_passes_and_only_so_often():
    assert decide_round_wait([Outcome(Kind.SERVER_ERROR)], 1, 1, 1.0) == 0.5
    assert decide_round_wait([Outcome(Kind.SERVER_ERROR)], 2, 1, 1.0) is None
    assert decide_round_wait([Outcome(Kind.AUTH), Outcome(Kind.REJECTED_ANSWER)], 1, 1, 1.0) is None
    assert decide_round_wait([], 1, 1, 1.0) is None


def test_the_soonest_target_decides_when():
    slow = Outcome(Kind.RATE_LIMITED, retry_after=30.0)
    assert decide_round_wait([slow], 1, 1, 1.0) == 30.0
    assert decide_round_wait([slow, Outcome(Kind.TIMEOUT)], 1, 1, 1.0) == 0.5
    assert decide_round_wait([Outcome(Kind.RATE_LIMITED, retry_after=1.0)], 1, 1, 1.0) == 1.0


def test_every_kind_of_outcome_has_a_consequence():
    assert set(CONSEQUENCES) == set(Kind)
