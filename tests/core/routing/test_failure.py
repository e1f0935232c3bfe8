"""Which exit code an ask without an answer has."""

import ast
import re
from itertools import combinations_with_replacement
from pathlib import Path

import pytest

import llmfail
from llmfail.core.classification.outcome import Kind
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing.failure import decide_failure, find_missing_cause

CALLED = {"server_error", "timeout", "auth", "billing", "permission", "quota", "rejected_answer"} | {
    "bad_request",
    "content_blocked",
    "refusal",
    "context_overflow",
    "model_not_found",
    "rate_limited",
    "cancelled",
}


def trail(*outcomes, cause=None):
    return [
        TrailEntry(Target("p", f"m{place}"), "called" if name in CALLED else "skipped", name, cause=cause)
        for place, name in enumerate(outcomes)
    ]


def code(*outcomes, cause=None, **facts):
    known = {"deadline_passed": False, "own_network": False, "retry_at": None} | facts
    return decide_failure(trail(*outcomes, cause=cause), **known).code


@pytest.mark.parametrize(
    ("expected", "outcomes"),
    [
        (3, ["server_error"]),
        (3, ["server_error", "no_key"]),
        (3, ["circuit_open", "held"]),
        (3, ["quota"]),
        (3, ["model_not_found"]),
        (3, ["rejected_answer", "rejected_answer"]),
        (4, ["over_budget"]),
        (4, ["over_budget", "no_key", "too_expensive"]),
        (4, ["over_budget", "server_error"]),
        (4, ["no_key", "rate_limited_here", "unknown_price"]),
        (5, ["bad_request"]),
        (5, ["bad_request", "bad_request", "circuit_open"]),
        (3, ["server_error", "bad_request"]),
        (3, ["bad_request", "server_error"]),
        (5, ["server_error", "refusal"]),
        (3, ["refusal", "server_error"]),
        (5, ["context_overflow", "too_small"]),
        (5, ["too_small", "no_key"]),
        (3, ["too_small", "timeout"]),
        (6, ["no_key"]),
        (6, ["no_key", "disabled", "auth", "billing", "permission"]),
        (3, ["auth", "server_error"]),
    ],
)
def test_the_exit_code_is_what_all_targets_have_in_common(expected, outcomes):
    assert code(*outcomes) == expected


def test_a_target_that_a_spent_quota_disabled_is_no_matter_of_credentials():
    assert code("disabled", cause="quota") == 3
    assert code("disabled", cause="auth") == 6


def test_the_last_word_of_a_target_counts():
    first, last = trail("server_error")[0], TrailEntry(Target("p", "m0"), "called", "auth")
    assert decide_failure([first, last], deadline_passed=False, own_network=False, retry_at=None).code == 6


def test_a_deadline_outweighs_everything_but_a_refused_request():
    assert code("timeout", deadline_passed=True) == 7
    assert code("bad_request", deadline_passed=True) == 5
    assert code("timeout", "bad_request", deadline_passed=True) == 7
    assert code("timeout", "bad_request", "bad_request", deadline_passed=True, stopped=True) == 5


def test_our_own_network_is_named_as_what_it_is():
    found = decide_failure(trail("server_error"), deadline_passed=False, own_network=True, retry_at=None)
    assert (found.code, found.kind) == (3, "network")


@pytest.mark.parametrize(
    ("outcomes", "network", "cause"),
    [
        (("cancelled",), False, "machine"),
        (("cancelled", "cancelled"), False, "machine"),
        (("cancelled", "server_error"), False, "service"),
        (("server_error",), False, "service"),
        (("network", "network"), True, "machine"),
    ],
)
def test_e1_trouble_of_our_own_machine_is_no_error_of_the_service(outcomes, network, cause):
    """Neither a descriptor that is missing nor a network that is down; the exit code stays."""
    found = decide_failure(trail(*outcomes), deadline_passed=False, own_network=network, retry_at=None)
    assert (found.code, find_missing_cause(found)) == (3, cause)


def test_the_message_names_every_target_and_when_to_try_again():
    entries = [
        TrailEntry(Target("a", "x"), "called", "rate_limited", note="slow down"),
        TrailEntry(Target("b", "y"), "skipped", "circuit_open"),
    ]
    message = decide_failure(entries, deadline_passed=False, own_network=False, retry_at=0.0).message
    assert "a/x rate_limited (slow down)" in message
    assert "b/y circuit_open" in message
    assert "1970-01-01T00:00:00Z" in message


def explain(*entries, **known):
    return decide_failure(
        entries, deadline_passed=False, own_network=False, retry_at=None, key_names=KEY_NAMES, **known
    ).message


A, B = Target("anthropic", "m"), Target("openai", "m")
KEY_NAMES = {A: "ANTHROPIC_API_KEY", B: "the key of openai"}


def test_i8_a_refused_key_is_named():
    refused = TrailEntry(A, "called", "auth", 401, note="401 invalid x-api-key")
    assert explain(refused) == (
        "no usable credential: ANTHROPIC_API_KEY was refused (anthropic/m: 401 invalid x-api-key)"
    )
    disabled = TrailEntry(B, "skipped", "disabled", note="no credit", cause="billing")
    assert "the key of openai belongs to an account without credit (openai/m: no credit)" in explain(disabled)
    assert "cannot be used" in explain(TrailEntry(B, "skipped", "disabled"))


def test_i8_of_many_missing_keys_three_are_named_and_the_others_counted():
    missing = [
        TrailEntry(Target(f"p{place}", "m"), "skipped", "no_key", note=f"set K{place}") for place in range(11)
    ]
    assert explain(*missing) == (
        "no target of this chain has a key: set K0, or set K1, or set K2, or one of 8 more "
        "(`llmfail plan` lists them)"
    )
    assert explain(*missing[:4]).endswith("set K2, or set K3")
    refused = TrailEntry(A, "called", "auth", note="401")
    assert explain(refused, *missing).startswith("no usable credential: ANTHROPIC_API_KEY was refused (")
    assert "one of 8 more" in explain(refused, *missing)


REASONS = [str(reason) for reason in (*Kind, *SkipReason) if reason is not Kind.OK]


@pytest.mark.parametrize("network", [False, True])
def test_no_message_speaks_of_the_command_line_to_a_program(network):
    """But to operators, whose matter the keys are."""
    for reasons in combinations_with_replacement(REASONS, 2):
        failure = decide_failure(
            trail(*reasons), deadline_passed=False, own_network=network, retry_at=1_800_000_000.0
        )
        assert "--" not in failure.message
        assert "`llmfail" not in failure.message or failure.code == ExitCode.CREDENTIALS_MISSING


ROOMS = (
    *("core/routing", "core/admission", "core/request", "core/degrade"),
    *("engine/answers", "engine/attempt", "engine/planning", "providers", "server"),
)
"""Where the messages come about that programs are told."""
OPTION = re.compile(r"(?<![-\w])--[a-z]")


@pytest.mark.parametrize("room", ROOMS)
def test_no_text_there_has_an_option_of_the_command_line(room):
    for module in (Path(llmfail.__file__).parent / room).rglob("*.py"):
        if module.name != "ask_options.py":  # which says what they are
            assert [text for text in _iter_texts(module) if OPTION.search(text)] == [], module


def _iter_texts(module):
    """Those of a module that are no docstrings."""
    tree = ast.parse(module.read_text())
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value
