"""The way of one ask: which calls are made, in which order, for how long, and what is recorded of them."""

import json

import pytest
from scripted_engine import ScriptedEngine, address_of, answer, embedding_reply, error, wire_error

from llmfail.core.admission.circuit import Circuit
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.conversation import Message
from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Reply, Secret, Target
from llmfail.core.records.counters import CallCounters
from llmfail.core.records.record import load_or_default
from llmfail.core.records.state_keys import call_counters_key, circuit_key, dropped_parameters_key
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import Expectation
from llmfail.engine.operator import Operator
from llmfail.engine.ports.execution import run_sync
from llmfail.google_auth import TokenRefused
from llmfail.settings.schema.types import Feature

DOWN = error(503)


@pytest.fixture
def stage(tmp_path):
    def make(script, **options):
        return ScriptedEngine(tmp_path, script, **options)

    return make


def outcomes(receipt):
    return [f"{entry.target} {entry.outcome}" for entry in receipt.trail]


def circuit(stage, target):
    key = circuit_key(address_of(target))
    return load_or_default(stage.store.read([key])[0][key], Circuit)


def test_the_primary_answers_and_nobody_else_is_called(stage):
    play = stage({"a": [answer("yes")]})
    receipt = play.ask()
    assert (receipt.answer, receipt.tier, receipt.source) == ("yes", 0, "model")
    assert play.hosts() == "a"


def test_a_failure_moves_on_at_once_and_the_tier_says_how_far(stage):
    play = stage({"a": [DOWN, answer("two")]})
    assert (play.ask().tier, play.hosts(), play.slept) == (1, "aa", [])
    play = stage({"a": [DOWN], "b": [answer("b")]})
    receipt = play.ask()
    assert (receipt.tier, play.hosts(), play.slept) == (2, "aab", [])
    assert outcomes(receipt) == ["a/one server_error", "a/two server_error", "b/one ok"]


def test_an_open_circuit_is_skipped_without_a_call(stage):
    play = stage({"a": [DOWN], "b": [answer()]})
    play.ask()
    play.ask()
    play.calls.clear()
    assert outcomes(play.ask())[:2] == ["a/one circuit_open", "a/two circuit_open"]
    assert play.hosts() == "b"


def test_after_the_wait_one_trial_closes_the_circuit(stage):
    play = stage({"a": [DOWN], "b": [answer()]})
    play.ask()
    play.ask()
    play.now += 60
    play.script["a"] = [answer("back")]
    assert play.ask().answer == "back"
    assert circuit(play, "a/one").state == "closed"


def test_a_rate_limit_with_a_hint_pauses_its_target_for_that_long(stage):
    play = stage({"a": [error(429, "rate_limit_exceeded", retry_after="30"), answer()], "b": [answer()]})
    assert play.ask(targets=["a/one", "b/one"]).trail[0].retry_after == 30
    play.now += 29.9
    assert outcomes(play.ask(targets=["a/one", "b/one"])) == ["a/one circuit_open", "b/one ok"]
    play.now += 0.1
    assert outcomes(play.ask(targets=["a/one", "b/one"])) == ["a/one ok"]


def test_when_all_have_failed_the_chain_is_walked_again_after_the_soonest_wait(stage):
    play = stage({"a": [DOWN], "b": [DOWN], "c": [DOWN, answer("late")]}, feature=", retries: 1")
    receipt = play.ask()
    assert (receipt.answer, play.hosts()) == ("late", "aabcaabc")
    assert play.slept == [0.25]


def test_a_target_that_cannot_help_is_not_walked_again(stage):
    script = {"a": [error(401, "invalid_api_key")], "b": [error(404, "model_not_found")], "c": [DOWN]}
    play = stage(script, feature=", retries: 1")
    play.ask()
    assert play.hosts() == "abcc"


def test_target_retries_ask_the_same_target_again_first(stage):
    play = stage({"a": [DOWN, answer("second")]}, feature=", target_retries: 2")
    assert (play.ask().tier, play.slept) == (0, [0.25])


def test_one_refusal_of_a_parameter_is_answered_by_leaving_it_out_and_remembered(stage):
    refused = error(400, "unsupported_value", "temperature is not supported", param="temperature")
    play = stage({"a": [refused, answer()]})
    assert play.ask(temperature=0.5).tier == 0
    assert ["temperature" in body for _, _, body in play.calls] == [True, False]
    play.calls.clear()
    play.ask(temperature=0.5)
    assert ["temperature" in body for _, _, body in play.calls] == [False]


def test_what_a_wire_cannot_carry_of_configured_options_is_told_of_a_plain_prompt(stage):
    provider = '  d: {api: anthropic, base_url: "http://d.invalid/v1", api_key: key-of-d-0123}\n'
    model = "models: {d/one: {options: {seed: 1}}}"
    asked = stage({"d": [DOWN]}, more=provider + model).ask(targets=("d/one",))
    assert asked.trail[0].dropped == ("seed",)


def test_a_parameter_that_stays_refused_is_not_dropped_for_ever(stage):
    refused = error(400, "unsupported_value", "temperature is not supported", param="temperature")
    play = stage({"a": [refused]})
    receipt = play.ask(temperature=0.5, targets=("a/one",))
    assert (receipt.error.code, play.hosts()) == (5, "aa")
    values, _ = play.store.read([dropped_parameters_key(address_of("a/one"))])
    assert list(values.values()) == [None]


REFUSED = error(400, "invalid_request_error")
FAILED = error(503, "unavailable")


@pytest.mark.parametrize(
    ("replies", "hosts", "code"),
    [
        ({"a": [REFUSED], "b": [REFUSED], "c": [answer("c")]}, "aab", 5),
        ({"a": [REFUSED], "b": [answer("b")]}, "aab", 0),
        ({"a": [REFUSED], "b": [FAILED], "c": [FAILED]}, "aabc", 3),
        ({"a": [FAILED], "b": [REFUSED], "c": [FAILED]}, "aabc", 3),
        ({"a": [FAILED, REFUSED], "b": [REFUSED], "c": [answer("c")]}, "aab", 5),
    ],
)
def test_B2_a_request_is_refused_when_two_endpoints_have_said_so(stage, replies, hosts, code):
    """Two targets of one endpoint, ``a/one`` and ``a/two``, count as one."""
    play = stage(replies, feature=", retries: 0")
    receipt = play.ask()
    assert (receipt.exit_code, play.hosts()) == (code, hosts)


@pytest.mark.parametrize(("feature", "hosts", "code"), [("", "a", 5), (", on_refusal: next", "aabc", 5)])
def test_after_a_refusal_the_feature_decides(stage, feature, hosts, code):
    refusal = answer("", finish_reason="content_filter")
    play = stage({"a": [refusal], "b": [refusal], "c": [refusal]}, feature=feature)
    assert (play.ask().error.code, play.hosts()) == (code, hosts)


def test_an_overflow_is_asked_only_of_larger_contexts(stage):
    models = "models: {a/one: {context: 1000}, a/two: {context: 1000}, b/one: {context: 5000}}"
    overflow = error(400, "context_length_exceeded")
    play = stage({"a": [overflow], "b": [answer("fits")]}, more=models)
    assert outcomes(play.ask()) == ["a/one context_overflow", "a/two too_small", "b/one ok"]


def test_an_empty_answer_is_rejected_and_paid_for(stage):
    price = "models: {a/one: {price: {input: 1, output: 2}}, a/two: {price: {input: 1, output: 2}}}"
    play = stage({"a": [answer(""), answer("words")]}, more=price)
    receipt = play.ask()
    assert outcomes(receipt) == ["a/one rejected_answer", "a/two ok"]
    assert receipt.cost_pico_usd == 2 * (10 * 10**6 + 5 * 2 * 10**6)


def test_an_answer_that_was_cut_is_an_answer_with_a_warning(stage):
    play = stage({"a": [answer("half", finish_reason="length")]})
    receipt = play.ask()
    assert (receipt.ok, receipt.finish_reason) == (True, "length")
    assert "max_tokens" in receipt.warnings[0]


def test_a_disabled_credential_is_known_to_the_next_ask(stage):
    play = stage({"a": [error(401, "invalid_api_key")], "b": [answer()]})
    assert outcomes(play.ask()) == ["a/one auth", "a/two disabled", "b/one ok"]
    play.calls.clear()
    play.ask()
    assert play.hosts() == "b"


def test_a_hanging_target_leaves_the_others_their_share_of_the_deadline(stage):
    play = stage({"a": [answer()], "b": [answer("in time")]}, takes={"a": 999})
    receipt = play.ask(deadline=8.0)
    assert [timeout for _, timeout, _ in play.calls] == pytest.approx([8 / 3, 16 / 9, 16 / 9])
    assert (receipt.answer, outcomes(receipt)[0]) == ("in time", "a/one cancelled")


def test_a_caller_in_a_hurry_does_not_open_circuits(stage):
    play = stage({"b": [answer()]}, takes={"a": 999})
    for _ in range(5):
        play.ask(deadline=4.0)
    assert circuit(play, "a/one").failures == 0


def test_a_target_that_had_its_fair_share_is_to_blame(stage):
    play = stage({"b": [answer()]}, takes={"a": 999}, feature="")
    play.ask()
    assert circuit(play, "a/one").failures == 1


def test_when_no_time_is_left_it_is_the_deadline(stage):
    play = stage({}, takes={"a": 999, "b": 999, "c": 999})
    receipt = play.ask(deadline=4.0)
    assert (receipt.error.code, play.now) == (7, 1_700_000_004.0)


def test_no_round_begins_that_would_end_after_the_deadline(stage):
    play = stage(
        {"a": [error(429, "rate_limit_exceeded", retry_after="30")], "b": [DOWN], "c": [DOWN]},
        feature=", retries: 5",
    )
    receipt = play.ask(deadline=0.2)
    assert (receipt.error.code, play.slept) == (3, [])


def test_without_fallback_the_first_target_stands_alone(stage):
    play = stage({"a": [DOWN]})
    assert (play.ask(fallback=False).error.code, play.hosts()) == (3, "a")


def test_named_targets_replace_the_chain_in_their_order(stage):
    play = stage({"c": [DOWN], "b": [answer()]})
    assert outcomes(play.ask(targets=["c/x", "b/y"])) == ["c/x server_error", "b/y ok"]


def test_a_provider_that_is_not_configured_is_a_usage_error(stage):
    with pytest.raises(UsageError, match="nobody"):
        stage({}).ask(targets=["nobody/x"])


@pytest.mark.parametrize("cause", ["resolve", "route"])
def test_when_nobody_can_be_reached_it_is_our_own_network_and_no_circuit_opens(stage, cause):
    play = stage({"a": [wire_error(cause)], "b": [wire_error(cause)], "c": [wire_error(cause)]})
    for _ in range(5):
        receipt = play.ask()
        assert receipt.error.kind == "network"
    assert circuit(play, "a/one").failures == 0
    assert len(play.calls) == 20


def test_one_host_that_cannot_be_found_is_its_own_fault(stage):
    play = stage({"a": [wire_error("resolve")], "b": [answer()]})
    play.ask()
    assert circuit(play, "a/one").failures == 1


def test_a_refused_connection_is_the_other_sides_answer(stage):
    play = stage({"a": [wire_error("refused")], "b": [wire_error("refused")], "c": [wire_error("refused")]})
    assert play.ask().error.kind == "unavailable"
    assert circuit(play, "a/one").failures == 1


def test_what_cannot_have_been_charged_is_free_and_what_may_have_been_is_unknown(stage):
    play = stage({"a": [wire_error("refused"), wire_error("timeout")], "b": [wire_error("cut")], "c": [DOWN]})
    assert [entry.cost_pico_usd for entry in play.ask().trail] == [0, None, None, 0]


def test_an_interrupted_call_gives_its_trial_back(stage):
    play = stage({"a": [DOWN], "b": [answer()]})
    play.ask()
    play.ask()
    play.now += 60
    play.script["a"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        play.ask()
    assert circuit(play, "a/one").leases == ()
    play.script["a"] = [answer("tried")]
    assert play.ask().answer == "tried"


def test_a_key_that_is_echoed_goes_nowhere(stage):
    key = "key-of-a-0123"
    play = stage({"a": [error(500, key, f"your key {key}"), answer(f"echo {key}")]})
    receipt = play.ask()
    assert key not in str(receipt.to_json())
    values, _ = play.store.read(["log/0", call_counters_key(address_of("a/one"), 472222)])
    assert key not in str(values)


def test_round_robin_shares_the_first_place(stage):
    play = stage({"a": [answer()], "b": [answer()], "c": [answer()]}, feature=", order: round_robin")
    for _ in range(4):
        play.ask()
    assert play.hosts() == "aabc"


@pytest.mark.parametrize("order", ["round_robin", "weighted"])
def test_a_session_stays_with_its_target_and_comes_back_to_it(stage, order):
    whole = {"a": [answer()], "b": [answer()], "c": [answer()]}
    firsts = {}
    for name in range(8):
        play = stage(dict(whole), feature=f", order: {order}")
        for _ in range(3):
            play.ask(session=f"session {name}")
        assert len(set(play.hosts())) == 1
        firsts[name] = play.hosts()[0]
    assert len(set(firsts.values())) == 3
    down = [error(503)] * 2
    first = firsts[0]
    play = stage({**whole, first: [*down, answer()]}, feature=f", order: {order}")
    outage = [str(play.ask(session="session 0").target) for _ in range(2)]
    play.now += 61
    back = [str(play.ask(session="session 0").target)[0] for _ in range(3)]
    assert all(target[0] != first for target in outage) or first == "a"
    assert back == [first] * 3


def test_the_order_by_latency_is_that_of_the_last_day(stage):
    play = stage(
        {"a": [answer()], "b": [answer()], "c": [answer()]},
        takes={"a": 3, "b": 1, "c": 2},
        feature=", order: latency",
    )
    for _ in range(5):
        play.ask()
    assert play.hosts() == "aabcb"


def test_a_plan_sends_nothing_and_takes_no_turn(stage):
    play = stage({"a": [answer()]}, feature=", order: round_robin")
    firsts = {play.plan().steps[0].target for _ in range(3)}
    assert (len(firsts), play.calls) == (1, [])
    assert not [key for key in play.store._rows if key.startswith("turn/")]


def test_only_what_may_have_passed_is_walked_again(stage):
    play = stage({"a": [answer("")], "b": [DOWN], "c": [DOWN]}, feature=", retries: 1")
    play.ask()
    assert play.hosts() == "aabcbc"


def test_a_circuit_that_was_open_is_asked_again_in_the_next_round(stage):
    busy = error(429, "rate_limit_exceeded", retry_after="1")
    play = stage({"a": [busy, busy, answer("back")], "b": [DOWN], "c": [DOWN]}, feature=", retries: 1")
    play.ask(fallback=False)
    play.now -= 0.5
    receipt = play.ask(targets=["a/one", "c/x"])
    assert outcomes(receipt)[0] == "a/one circuit_open"


def test_a_hint_below_what_a_circuit_believes_is_waited_for_all_the_same(stage):
    busy = error(429, "rate_limit_exceeded", retry_after_ms="200")
    play = stage({"a": [busy, answer("now")]}, feature=", retries: 1")
    receipt = play.ask(targets=["a/one", "a/one"])
    assert (receipt.answer, play.slept) == ("now", [1.0])


def test_the_receipt_says_when_to_try_again(stage):
    busy = error(429, "rate_limit_exceeded", retry_after="90")
    play = stage({"a": [busy], "b": [DOWN], "c": [DOWN]})
    assert play.ask().retry_at == play.now + 90
    assert play.ask().retry_at == play.now + 90


def test_answers_of_others_than_the_primary_are_counted_as_fallbacks(stage):
    play = stage({"a": [DOWN, answer()]})
    play.ask()
    hour = int(play.now // 3600)
    values, _ = play.store.read([call_counters_key(address_of(one), hour) for one in ("a/one", "a/two")])
    first, second = (load_or_default(text, CallCounters) for text in values.values())
    assert (first.fallbacks, second.fallbacks, first.ok, second.ok) == (0, 1, 0, 1)


def test_a_trial_has_its_place_for_its_timeout_and_half_a_minute(stage):
    play = stage({"a": [DOWN], "b": [answer()]})
    play.ask()
    play.ask()
    play.now += 60
    began = play.now
    play.script["a"] = [SystemExit()]
    leases = []
    play.watch = lambda: leases.extend(circuit(play, "a/one").leases)
    with pytest.raises(SystemExit):
        play.ask()
    assert [lease.until - began for lease in leases] == [40.0]


def test_ctrl_c_in_the_middle_blames_nobody_for_our_network(stage):
    play = stage({"a": [wire_error("resolve")], "b": [KeyboardInterrupt()]})
    with pytest.raises(KeyboardInterrupt):
        play.ask()
    assert circuit(play, "a/one").failures == 0


def test_a_host_that_cannot_be_found_counts_as_soon_as_another_answers(stage):
    play = stage({"a": [wire_error("resolve")], "b": [DOWN], "c": [KeyboardInterrupt()]})
    with pytest.raises(KeyboardInterrupt):
        play.ask()
    assert circuit(play, "a/one").failures == 1


def test_two_paths_of_one_host_are_no_network(stage):
    play = stage({"a": [wire_error("resolve")]})
    assert play.ask(targets=["a/one", "a/two"]).error.kind == "unavailable"
    assert circuit(play, "a/one").failures == 1


def test_an_unknown_part_makes_the_whole_cost_unknown(stage):
    price = "models: {b/one: {price: {input: 1, output: 2}}}"
    play = stage({"a": [wire_error("timeout")], "b": [answer()]}, more=price)
    receipt = play.ask()
    assert (receipt.trail[-1].cost_pico_usd, receipt.cost_pico_usd) == (20 * 10**6, None)
    assert play.ask(targets=["b/one"]).cost_pico_usd == 20 * 10**6


def test_one_target_named_keeps_the_fallbacks_of_its_provider_and_several_stand_alone(stage):
    more = '  d: {api: openai, base_url: "http://d.invalid/v1", api_key: key-of-d-0123, fallbacks: [b]}'
    play = stage({"d": [DOWN], "b": [answer()]}, more=more)
    assert outcomes(play.ask(targets=["d/x"])) == ["d/x server_error", "b/one ok"]
    assert outcomes(play.ask(targets=["d/x", "d/y"])) == ["d/x server_error", "d/y server_error"]


def test_without_a_chain_every_target_with_a_key_and_room_is_asked(stage):
    more = """\
  k: {api: openai, base_url: "http://k.invalid/v1", api_key: "${NOT_SET}"}
models:
  k/best: {quality: 99}
  b/small: {quality: 95, max_output: 100}
  a/good: {quality: 90}
  c/fair: {quality: 50}"""
    play = stage({"a": [DOWN], "c": [answer()]}, more=more)
    play.settings.features["any"] = Feature(name="any")
    receipt = play.ask(feature="any", max_tokens=1000)
    assert outcomes(receipt)[:2] == ["a/good server_error", "c/fair ok"]


def test_a_target_that_never_answered_is_the_slowest(stage):
    play = stage({"a": [DOWN], "b": [answer()], "c": [answer()]}, feature=", order: latency")
    play.settings.models.clear()
    for _ in range(6):
        play.ask()
    play.calls.clear()
    play.ask()
    assert play.hosts() in {"b", "c"}


def test_an_output_that_is_too_long_says_nothing_about_the_context(stage):
    models = "models: {a/one: {context: 1000000}, a/two: {context: 500000}}"
    cap = error(400, "invalid_value", "max_tokens is too large: supports at most 4096 completion tokens")
    play = stage({"a": [cap, answer("fits")]}, more=models)
    assert play.ask().answer == "fits"


def test_an_answer_is_held_to_a_schema_that_had_to_be_dropped(stage):
    refused = error(400, "unsupported_parameter", "response_format is not supported", param="response_format")
    play = stage({"a": [refused, answer("[]"), answer("{}")], "b": [answer("{}")]})
    asked = play.ask(schema={"type": "object"}, targets=["a/one", "b/one"])
    assert [entry.outcome for entry in asked.trail] == ["bad_request", "rejected_answer", "ok"]
    assert "response_format" not in play.calls[1][2]
    assert play.ask(schema={"type": "object"}, targets=["a/one"]).ok


def test_a_prompt_that_is_no_text_costs_no_answer_when_prompts_are_logged(stage):
    play = stage({"a": [answer()]}, more="privacy: {log_prompts: true}")
    receipt = run_sync(play.engine.ask(Ask(to_messages("half a pair: \ud83d"))))
    assert receipt.ok


def test_a_probe_asks_one_target_once_and_is_no_ask(stage):
    play = stage({"b": [DOWN]}, feature=", retries: 3")
    receipt = run_sync(play.engine.probe(Target("b", "one")))
    assert (receipt.error.code, play.hosts()) == (3, "b")
    assert circuit(play, "b/one").failures == 1
    assert play.store.read(["log"])[0]["log"] is None


def test_vectors_of_two_models_do_not_mix(stage):
    play = stage({"a": [DOWN], "b": [embedding_reply(1)], "c": [embedding_reply(1)]})
    ask = Ask(to_messages("hi"), targets=(Target("a", "one"), Target("b", "other"), Target("c", "one")))
    receipt = run_sync(play.engine.embed(ask))
    assert outcomes(receipt) == ["a/one server_error", "c/one ok"]


def test_vectors_of_several_lengths_are_no_answer(stage):
    data = [{"index": 0, "embedding": [0.5]}, {"index": 1, "embedding": [0.5, 0.5]}]
    play = stage({"a": [Reply(200, {}, json.dumps({"data": data}).encode())]})
    ask = Ask((Message("user", "x"), Message("user", "y")), targets=(Target("a", "one"),), fallback=False)
    assert run_sync(play.engine.embed(ask)).trail[0].outcome == "malformed"


def test_one_empty_text_among_others_is_a_usage_error(stage):
    ask = Ask((Message("user", "x"), Message("user", " ")), targets=(Target("a", "one"),))
    with pytest.raises(UsageError, match="there is no text"):
        run_sync(stage({}).engine.embed(ask))


def test_a_turn_of_a_rotation_does_not_change_the_model(stage):
    play = stage(
        {"a": [embedding_reply(1)], "b": [embedding_reply(1)], "c": [embedding_reply(1)]},
        feature=", order: round_robin",
    )
    served = [str(run_sync(play.engine.embed(Ask(to_messages("hi")))).target) for _ in range(4)]
    assert served == ["a/one", "b/one", "c/one", "a/one"]


def test_one_vector_for_two_texts_is_no_answer(stage):
    play = stage({"a": [embedding_reply(1)]})
    ask = Ask((Message("user", "x"), Message("user", "y")), targets=(Target("a", "one"),), fallback=False)
    assert run_sync(play.engine.embed(ask)).trail[0].outcome == "malformed"


VERTEX = """\
  v: {api: vertex, project: mine}
models: {v/gemini-x: {}}"""
TOKEN = Secret("ya29.token-of-google")
DENIED = error(401, "UNAUTHENTICATED")


def gemini(text):
    part = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
    return Reply(200, {}, json.dumps({"candidates": [part]}).encode())


@pytest.fixture
def google(stage):
    def make(words, tokens):
        play = stage({"aiplatform": words, "b": [answer("b")]}, more=VERTEX)
        play.tokens.script = tokens
        return play

    return make


def ask_google(play):
    return play.ask(targets=["v/gemini-x", "b/one"])


def test_a_target_at_google_is_asked_with_a_token(google):
    receipt = ask_google(google([gemini("from google")], [TOKEN]))
    assert (receipt.answer, receipt.tier) == ("from google", 0)


def test_without_google_credentials_the_target_is_skipped_and_nothing_is_held_against_it(google):
    play = google([gemini("later")], [None, TOKEN])
    assert outcomes(ask_google(play)) == ["v/gemini-x no_key", "b/one ok"]
    assert ask_google(play).tier == 0


def test_a_refused_token_is_fetched_anew_once(google):
    play = google([DENIED, gemini("second token")], [TOKEN])
    assert (ask_google(play).answer, play.tokens.forgotten) == ("second token", 1)
    play = google([DENIED], [TOKEN])
    assert outcomes(ask_google(play))[0] == "v/gemini-x auth"
    assert len([host for host, _, _ in play.calls if host == "aiplatform"]) == 2


def test_a_refused_account_is_tried_again_after_an_hour_because_tokens_change_by_themselves(google):
    play = google([DENIED, DENIED, gemini("mended")], [TOKEN])
    ask_google(play)
    assert outcomes(ask_google(play))[0] == "v/gemini-x disabled"
    play.now += 3600
    assert ask_google(play).answer == "mended"


def test_a_token_that_cannot_be_fetched_is_what_it_is(google):
    play = google([gemini("x")], [WireError("timeout", "oauth2.example hangs")])
    assert outcomes(ask_google(play))[0] == "v/gemini-x timeout"
    play = google([gemini("x")], [TokenRefused(Outcome(Kind.AUTH, "revoked"))])
    assert outcomes(ask_google(play))[0] == "v/gemini-x auth"


def test_no_token_is_fetched_for_a_target_that_may_not_be_asked(google):
    play = google([gemini("x")], [AssertionError("fetched")])
    run_sync(Operator(play.settings, play.ports).trip("v", 60))
    assert outcomes(ask_google(play)) == ["v/gemini-x held", "b/one ok"]


def test_a_target_that_cannot_carry_the_request_leaves_it_to_the_others(stage):
    more = '  n: {api: anthropic, base_url: "http://n.invalid", api_key: key-of-n-0123}'
    play = stage({"b": [embedding_reply(1)]}, more=more, feature=", allow_other_models: true")
    ask = Ask(to_messages("hi"), targets=(Target("n", "claude"), Target("b", "emb")))
    receipt = run_sync(play.engine.embed(ask))
    assert outcomes(receipt) == ["n/claude disabled", "b/emb ok"]
    assert circuit(play, "n/claude").failures == 0


def test_a_probe_never_makes_do_with_a_stored_answer(tmp_path):
    play = ScriptedEngine(tmp_path, {"b": [answer()]}, cached=True)
    for _ in range(2):
        assert run_sync(play.engine.probe(Target("b", "one"))).source == "model"
    assert play.hosts() == "bb"


def test_what_was_spent_before_a_simplified_prompt_counts_towards_the_most_it_may_cost(tmp_path):
    price = "models: {a/one: {price: {input: 3, output: 10}}}"
    step = ", degrade: [{simplify: {keep_chars: 100}}]"
    play = ScriptedEngine(tmp_path, {"a": [answer("no json")]}, more=price, feature=step)
    worst = play.plan().steps[0].max_cost
    asked = play.ask(targets=["a/one"], expect=Expectation(json=True), max_cost=worst)
    assert [entry.outcome for entry in asked.trail] == ["rejected_answer", "too_expensive"]
    twice = play.ask(targets=["a/one"], expect=Expectation(json=True), max_cost=2 * worst)
    assert [entry.outcome for entry in twice.trail] == ["rejected_answer", "rejected_answer"]


def test_a_wait_asks_whoever_has_become_free_meanwhile(tmp_path):
    """The circuit that was open has had its time while another target took its own."""
    play = ScriptedEngine(tmp_path, {"a": [error(500), error(500), answer()], "b": [error(500)]})
    for _ in range(2):
        play.ask(targets=["a/one"])
    play.takes = {"b": 70.0}
    asked = play.ask(targets=["a/one", "b/one"], wait=100.0, timeout=65.0, deadline=200.0)
    assert asked.ok
    assert asked.target == Target("a", "one")


@pytest.mark.parametrize("status", [408, 504, 524])
def test_C3_a_timeout_that_the_provider_reports_counts_however_little_time_was_left(stage, status):
    replies = {"a": [error(status, "timeout")], "b": [answer("b")]}
    play = stage(replies, feature=", retries: 0, deadline: 120s")
    for _ in range(2):  # as many as open a circuit here
        receipt = play.ask(targets=("a/one", "b/one", "c/one"), deadline=3.0)
        assert receipt.trail[0].outcome == "timeout"
    assert play.ask(targets=("a/one",), fallback=False).trail[0].outcome == "circuit_open"
