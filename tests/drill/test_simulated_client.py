"""``open_simulated_client``: the user's configuration with the simulator in the place of every provider."""

from urllib.parse import urlsplit

import drill_runs
import pytest

from llmfail.client.options import ask_of
from llmfail.core.errors import UsageError
from llmfail.drill import open_simulated_client

CHAIN = {"f": "{primary: a/one, fallbacks: [b/two, c/three, v/gemini-four, v/claude-five]}"}
ALL = ("a/one", "b/two", "c/three", "v/gemini-four", "v/claude-five")


def ask(settings, faults, **options):
    with open_simulated_client(settings, faults) as stage:
        return stage.client.ask_receipt(ask_of("hello", feature="f", **options)), stage.simulator


@pytest.mark.parametrize(
    ("faults", "target", "tier"),
    [
        ("none", "a/one", 0),
        ("a=503", "b/two", 2),
        ("a/one=503", "b/two", 2),
        ("a=auth,b=429:30", "c/three", 2),
        ("a=refuse,b=cut,c=garbage", "v/gemini-four", 2),
        ("all=503,v/claude-five=none", "v/claude-five", 2),
    ],
)
def test_the_first_that_works_answers(tmp_path, faults, target, tier):
    receipt, _ = ask(drill_runs.load_settings(tmp_path, CHAIN), faults)
    assert (str(receipt.target), receipt.tier) == (target, tier)


def test_nobody_is_skipped_for_want_of_a_key_a_token_or_a_project(tmp_path):
    receipt, simulator = ask(drill_runs.load_settings(tmp_path, CHAIN), "all=503")
    assert receipt.error.code == 3
    assert [str(line.target) for line in receipt.trail] == list(ALL)
    assert {line.action for line in receipt.trail} == {"called"}
    assert [simulator.count(name) for name in ALL] == [1] * 5


def test_a_fault_for_the_first_n_calls_ends(tmp_path):
    with open_simulated_client(drill_runs.load_settings(tmp_path, CHAIN), "a=503x1") as stage:
        tiers = [stage.client.ask("hello", feature="f").tier for _ in range(2)]
    assert tiers == [2, 0]


def test_a_timeout_holds(tmp_path):
    receipt, _ = ask(drill_runs.load_settings(tmp_path, CHAIN), "a=hang", timeout=0.05)
    assert (receipt.trail[0].outcome, str(receipt.target)) == ("timeout", "b/two")


@pytest.mark.parametrize(
    ("faults", "meant"),
    [("aa=503", "a"), ("b/tow=503", "b/two"), ("twine=hang", "twin")],
)
def test_a_name_that_nobody_has_is_a_usage_error_with_the_nearest_one(tmp_path, faults, meant):
    with (
        pytest.raises(UsageError, match=rf"did you mean {meant}\?"),
        open_simulated_client(drill_runs.load_settings(tmp_path, CHAIN), faults),
    ):
        pass


def test_every_provider_is_on_loopback_and_the_store_in_memory(tmp_path):
    with open_simulated_client(drill_runs.load_settings(tmp_path, CHAIN), "none") as stage:
        providers = stage.client.settings.providers.values()
        assert {urlsplit(one.base_url).hostname for one in providers} == {"127.0.0.1"}
        assert stage.client.settings.store == "memory"
        assert stage.client.status().store == "memory"


def test_no_server_of_answers_or_of_the_queue_hears_of_a_rehearsal(tmp_path):
    more = "cache: {store: redis://evil.example/0}\nqueue: {store: redis://evil.example/0}"
    with open_simulated_client(drill_runs.load_settings(tmp_path, CHAIN, more=more), "none") as stage:
        used = stage.client.settings
        assert stage.client.ask("hello", feature="f").ok
    assert (used.answers_place, used.queue_place) == ("memory", None)


def test_a_real_key_is_neither_sent_nor_kept(tmp_path):
    with open_simulated_client(drill_runs.load_settings(tmp_path, CHAIN), "all=503,c=none") as stage:
        stage.client.ask("hello", feature="f")
        heard = [f"{seen.headers}{seen.body}{seen.path}" for seen in stage.simulator.requests]
        kept = [one.api_key.reveal() for one in stage.client.settings.providers.values()]
    assert len(heard) == 3
    for secret in drill_runs.SECRETS:
        assert not [text for text in (*heard, *kept) if secret in text]


def test_budgets_and_rate_limits_do_not_stand_in_the_way(tmp_path):
    limits = "limits: {requests_per_minute: 1}"
    head = drill_runs.CONFIG_HEAD.replace("https://a.example,", f"https://a.example, {limits},")
    more = f"budgets: [{{name: daily, limit: 0.01, per: day}}]\nmodels: {{a/one: {{{limits}}}}}"
    with open_simulated_client(
        drill_runs.load_settings(tmp_path, CHAIN, head=head, more=more), "none"
    ) as stage:
        assert [stage.client.ask("hello", feature="f").tier for _ in range(3)] == [0, 0, 0]
        used = stage.client.settings
    limited = (*used.providers.values(), *used.models.values())
    assert {one.limits.requests_per_minute for one in limited} == {None}
    assert used.budgets == ()


def test_after_the_rehearsal_nobody_listens(tmp_path):
    with open_simulated_client(drill_runs.load_settings(tmp_path, CHAIN), "none") as stage:
        pass
    assert stage.simulator.count_open_connections() == 0
    with pytest.raises(UsageError, match="client is closed"):
        stage.client.ask_receipt(ask_of("hello", feature="f"))
