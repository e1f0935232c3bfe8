"""What a stream costs, whole or broken: what it reports, else an estimate that is marked as one."""

from decimal import Decimal

import pytest
from events import INPUT, OUTPUT
from program import ANTHROPIC, GOOGLE, OPENAI
from streamed import (
    CLAUDE_ON_VERTEX,
    FORMATS,
    FOUR,
    GEMINI_ON_VERTEX,
    MILL,
    SPARE,
    logged,
    provider_of,
    shown,
    spent,
)
from streams import CUT, ERROR


class TestMoney:
    BUDGET = ({"name": "daily", "limit": 50, "per": "day"},)

    @pytest.mark.parametrize("target", FORMATS)
    def test_a_whole_stream_costs_what_it_reports(self, chained, target):
        receipt = chained(target).ask("--stream").document
        assert Decimal(receipt["cost_usd"]) == (INPUT + OUTPUT) * MILL
        usage = receipt["usage"]
        assert (usage["input_tokens"], usage["output_tokens"], usage["estimated"]) == (INPUT, OUTPUT, False)

    @pytest.mark.parametrize("target", FORMATS)
    def test_what_is_never_reported_is_estimated_and_marked(self, chained, streams, target):
        streams.reports = False
        receipt = chained(target).ask("--stream").document
        assert receipt["usage"]["estimated"] is True
        assert 0 < Decimal(receipt["cost_usd"]) < MILL * INPUT

    @pytest.mark.parametrize("target", FORMATS)
    @pytest.mark.parametrize("end", [CUT, ERROR], ids=["cut", "error"])
    def test_a_broken_one_is_charged_everywhere(self, chained, streams, screen, target, end):
        streams.plays(provider_of(target), [*FOUR, end])
        llmfail = chained(target, budgets=list(self.BUDGET))
        assert shown(llmfail, screen).code == 8
        [entry] = logged(llmfail)["trail"]
        cost = Decimal(entry["cost_usd"])
        assert 0 < cost < 2
        assert Decimal(logged(llmfail)["cost_usd"]) == cost
        assert spent(llmfail) == cost
        [budget] = llmfail.status()["budgets"]
        assert (Decimal(budget["spent_usd"]), budget["held_usd"]) == (cost, "0")

    @pytest.mark.parametrize("target", [GOOGLE, GEMINI_ON_VERTEX])
    def test_what_was_reported_before_it_broke_is_what_it_cost(self, chained, streams, screen, target):
        streams.plays(provider_of(target), [*FOUR, CUT])
        llmfail = chained(target)
        assert shown(llmfail, screen).code == 8
        assert spent(llmfail) == (INPUT + OUTPUT) * MILL

    @pytest.mark.parametrize("target", [ANTHROPIC, CLAUDE_ON_VERTEX])
    def test_where_only_the_input_was_reported_the_output_is_estimated(
        self, chained, streams, screen, target
    ):
        streams.plays(provider_of(target), [*FOUR * 20, CUT])
        llmfail = chained(target)
        assert shown(llmfail, screen).code == 8
        assert (INPUT + 20) * MILL < spent(llmfail) < (INPUT + 300) * MILL
        assert logged(llmfail)["usage"]["estimated"] is True

    def test_where_nothing_was_reported_all_of_it_is(self, chained, streams, screen):
        streams.plays("openai", [*FOUR * 20, CUT])
        llmfail = chained(OPENAI)
        assert shown(llmfail, screen).code == 8
        assert 20 * MILL < spent(llmfail) < 300 * MILL
        assert logged(llmfail)["usage"]["estimated"] is True

    def test_piped_both_are_paid_for(self, chained, streams):
        streams.plays("google", [*FOUR, CUT])
        asked = chained(GOOGLE, SPARE, budgets=list(self.BUDGET)).ask("--stream")
        first, second = (Decimal(entry["cost_usd"]) for entry in asked.document["trail"])
        assert first == second == (INPUT + OUTPUT) * MILL
        assert Decimal(asked.document["cost_usd"]) == first + second

    def test_no_second_target_is_asked_for_more_than_is_allowed(self, chained, streams):
        """The broken stream has used up what the caller was ready to pay."""
        streams.plays("google", [*FOUR, CUT])
        asked = chained(GOOGLE, SPARE).ask("--stream", "--max-cost", "2.5")
        assert asked.code == 4
        assert streams.count("spare") == 0
