"""What one process learns about a key, the later ones know without asking."""

import time
from dataclasses import replace

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI, build_config, parse_time

from llmfail.simulator import parse_faults

LUNA = "openai/gpt-6-luna"


@pytest.fixture
def llmfail(simulator, configure):
    return configure(build_config(simulator, OPENAI, LUNA, ANTHROPIC))


@pytest.mark.parametrize("kind", ["auth", "billing"])
class TestWholeCredential:
    @pytest.mark.stores
    def test_it_is_disabled_for_every_model_and_every_later_process(self, llmfail, simulator, kind):
        simulator.set_faults(parse_faults(f"openai={kind}"))
        first, second = llmfail.ask(), llmfail.ask()
        assert first.code == second.code == 0
        assert first.trail == [
            (OPENAI, "called", kind),
            (LUNA, "skipped", "disabled"),
            (ANTHROPIC, "called", "ok"),
        ]
        assert second.trail == [
            (OPENAI, "skipped", "disabled"),
            (LUNA, "skipped", "disabled"),
            (ANTHROPIC, "called", "ok"),
        ]
        assert (simulator.count("openai"), simulator.count_connections("openai")) == (1, 1)
        assert llmfail.status(OPENAI)["state"] == llmfail.status(LUNA)["state"] == "disabled"
        assert llmfail.status()["status"] == "degraded"

    def test_another_key_is_not_and_the_old_one_still_is(self, llmfail, simulator, kind):
        simulator.set_faults(parse_faults(f"openai={kind}x1"))
        llmfail.ask()
        assert llmfail.with_environ(OPENAI_API_KEY="a-new-key").ask().trail == [(OPENAI, "called", "ok")]
        assert llmfail.ask().trail[0] == (OPENAI, "skipped", "disabled")

    @pytest.mark.parametrize("name", ["openai", OPENAI, LUNA])
    def test_reset_enables_it(self, llmfail, simulator, kind, name):
        simulator.set_faults(parse_faults(f"openai={kind}x1"))
        llmfail.ask()
        assert llmfail("reset", name).code == 0
        assert llmfail.ask().trail == [(OPENAI, "called", "ok")]

    def test_alone_it_is_exit_code_6(self, simulator, configure, kind):
        llmfail = configure(build_config(simulator, OPENAI))
        simulator.set_faults(parse_faults(f"openai={kind}"))
        for outcome in (kind, "disabled"):
            ended = llmfail.ask()
            assert ended.code == ended.document["error"]["code"] == 6
            assert ended.trail == [(OPENAI, *("called" if outcome == kind else "skipped", outcome))]
            assert len(ended.lines) == 1
        assert simulator.count() == 1


@pytest.mark.stores
def test_billing_is_tried_again_within_the_hour_and_a_bad_key_never(simulator, configure):
    llmfail = configure(build_config(simulator, OPENAI, GOOGLE, ANTHROPIC))
    simulator.set_faults(parse_faults("openai=billing,google=auth"))
    llmfail.ask()
    assert time.time() + 3500 < parse_time(llmfail.status(OPENAI)["retry_at"]) <= time.time() + 3601
    assert llmfail.status(GOOGLE)["retry_at"] is None


class TestDailyQuota:
    def test_it_is_exit_code_3_and_says_when_to_come_back(self, simulator, configure):
        llmfail = configure(build_config(simulator, OPENAI))
        simulator.set_faults(parse_faults("openai=quota"))
        for action, outcome in (("called", "quota"), ("skipped", "disabled")):
            ended = llmfail.ask()
            assert ended.code == ended.document["error"]["code"] == 3
            assert ended.trail == [(OPENAI, action, outcome)]
            retry_at = parse_time(ended.document["retry_at"])
            assert time.time() + 8500 < retry_at <= time.time() + 8701
            assert ended.document["retry_at"] in ended.err
        assert simulator.count() == 1

    @pytest.mark.parametrize(("provider", "target"), [("openai", OPENAI), ("google", GOOGLE)])
    def test_it_is_not_a_rate_limit(self, simulator, configure, provider, target):
        llmfail = configure(build_config(simulator, target, ANTHROPIC))
        simulator.set_faults(parse_faults(f"{provider}=quota"))
        assert llmfail.ask().trail == [(target, "called", "quota"), (ANTHROPIC, "called", "ok")]
        assert llmfail.ask().trail[0] == (target, "skipped", "disabled")
        assert simulator.count(provider) == 1

    def test_reset_ends_it(self, simulator, configure):
        llmfail = configure(build_config(simulator, OPENAI))
        simulator.set_faults(parse_faults("openai=quotax1"))
        llmfail.ask()
        llmfail("reset", "openai")
        assert llmfail.ask().code == 0


@pytest.mark.parametrize(("status", "outcome"), [(403, "permission"), (404, "model_not_found")])
def test_what_one_model_may_not_another_of_the_same_key_may(llmfail, simulator, status, outcome):
    simulator.set_faults(parse_faults(f"{OPENAI}={status}"))
    assert llmfail.ask().trail == [(OPENAI, "called", outcome), (LUNA, "called", "ok")]
    assert llmfail.ask().trail == [(OPENAI, "skipped", "disabled"), (LUNA, "called", "ok")]
    assert simulator.count(OPENAI) == 1
    assert (llmfail.status(OPENAI)["state"], llmfail.status(LUNA)["state"]) == ("disabled", "closed")


def test_without_any_key_it_is_exit_code_6_and_says_which_to_set(llmfail, simulator):
    ended = llmfail.without("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY").ask()
    assert ended.code == 6
    assert ended.document["error"]["kind"] == "credentials"
    assert "OPENAI_API_KEY" in ended.err
    assert "ANTHROPIC_API_KEY" in ended.err
    assert simulator.count_connections() == 0


def test_a_provider_without_its_key_is_skipped(llmfail, simulator):
    ended = llmfail.without("OPENAI_API_KEY").ask()
    assert ended.trail == [
        (OPENAI, "skipped", "no_key"),
        (LUNA, "skipped", "no_key"),
        (ANTHROPIC, "called", "ok"),
    ]
    assert simulator.count_connections("openai") == 0


@pytest.mark.parametrize(
    ("source", "why"),
    [({"command": ["false"]}, "false ended with 1"), ({"file": "gone"}, "gone: No such file")],
)
def test_a_provider_whose_key_cannot_be_got_is_skipped(configure, simulator, source, why):
    document = build_config(simulator, OPENAI, ANTHROPIC)
    document["providers"]["openai"]["api_key"] = source
    llmfail = configure(document)
    ended = llmfail.ask()
    assert ended.trail == [(OPENAI, "skipped", "no_key"), (ANTHROPIC, "called", "ok")]
    assert why in ended.err
    alone = llmfail.ask("-m", OPENAI)
    assert alone.code == 6
    assert why in alone.err


def test_an_empty_key_is_no_key(llmfail):
    assert llmfail.with_environ(OPENAI_API_KEY="").ask().trail[0] == (OPENAI, "skipped", "no_key")


def test_the_shipped_configuration_without_any_key_says_what_to_do(llmfail):
    bare = replace(llmfail, environ={}, before=())
    ended = bare("ask", "Say hello")
    assert (ended.code, ended.out) == (6, b"")
    assert "ANTHROPIC_API_KEY" in ended.err
    assert len(ended.lines) <= 2
