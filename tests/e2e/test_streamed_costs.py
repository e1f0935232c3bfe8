"""What a stream costs, whole or broken: what it reports, else an estimate that is marked as one."""

from decimal import Decimal

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI
from scripted_streams import CUT, ERROR
from stream_asks import (
    CLAUDE_ON_VERTEX,
    FORMATS,
    FOUR_TOKENS,
    GEMINI_ON_VERTEX,
    SPARE,
    TOKEN_PRICE_USD,
    ask_on_terminal,
    provider_of,
    read_last_receipt,
    read_spent_usd,
)
from stream_events import INPUT, OUTPUT


class TestMoney:
    BUDGET = ({"name": "daily", "limit": 50, "per": "day"},)

    @pytest.mark.parametrize("target", FORMATS)
    def test_a_whole_stream_costs_what_it_reports(self, chained, target):
        receipt = chained(target).ask("--stream").document
        assert Decimal(receipt["cost_usd"]) == (INPUT + OUTPUT) * TOKEN_PRICE_USD
        usage = receipt["usage"]
        assert (usage["input_tokens"], usage["output_tokens"], usage["estimated"]) == (INPUT, OUTPUT, False)

    @pytest.mark.parametrize("target", FORMATS)
    def test_what_is_never_reported_is_estimated_and_marked(self, chained, streams, target):
        streams.reports = False
        receipt = chained(target).ask("--stream").document
        assert receipt["usage"]["estimated"] is True
        assert 0 < Decimal(receipt["cost_usd"]) < TOKEN_PRICE_USD * INPUT

    @pytest.mark.parametrize("target", FORMATS)
    @pytest.mark.parametrize("end", [CUT, ERROR], ids=["cut", "error"])
    def test_a_broken_one_is_charged_everywhere(self, chained, streams, screen, target, end):
        streams.plays(provider_of(target), [*FOUR_TOKENS, end])
        llmfail = chained(target, budgets=list(self.BUDGET))
        assert ask_on_terminal(llmfail, screen).code == 8
        [entry] = read_last_receipt(llmfail)["trail"]
        cost = Decimal(entry["cost_usd"])
        assert 0 < cost < 2
        assert Decimal(read_last_receipt(llmfail)["cost_usd"]) == cost
        assert read_spent_usd(llmfail) == cost
        [budget] = llmfail.status()["budgets"]
        assert (Decimal(budget["spent_usd"]), budget["held_usd"]) == (cost, "0")

    @pytest.mark.parametrize("target", [GOOGLE, GEMINI_ON_VERTEX])
    def test_what_was_reported_before_it_broke_is_what_it_cost(self, chained, streams, screen, target):
        streams.plays(provider_of(target), [*FOUR_TOKENS, CUT])
        llmfail = chained(target)
        assert ask_on_terminal(llmfail, screen).code == 8
        assert read_spent_usd(llmfail) == (INPUT + OUTPUT) * TOKEN_PRICE_USD

    @pytest.mark.parametrize("target", [ANTHROPIC, CLAUDE_ON_VERTEX])
    def test_where_only_the_input_was_reported_the_output_is_estimated(
        self, chained, streams, screen, target
    ):
        streams.plays(provider_of(target), [*FOUR_TOKENS * 20, CUT])
        llmfail = chained(target)
        assert ask_on_terminal(llmfail, screen).code == 8
        assert (INPUT + 20) * TOKEN_PRICE_USD < read_spent_usd(llmfail) < (INPUT + 300) * TOKEN_PRICE_USD
        assert read_last_receipt(llmfail)["usage"]["estimated"] is True

    def test_where_nothing_was_reported_all_of_it_is(self, chained, streams, screen):
        streams.plays("openai", [*FOUR_TOKENS * 20, CUT])
        llmfail = chained(OPENAI)
        assert ask_on_terminal(llmfail, screen).code == 8
        assert 20 * TOKEN_PRICE_USD < read_spent_usd(llmfail) < 300 * TOKEN_PRICE_USD
        assert read_last_receipt(llmfail)["usage"]["estimated"] is True

    def test_piped_both_are_paid_for(self, chained, streams):
        streams.plays("google", [*FOUR_TOKENS, CUT])
        asked = chained(GOOGLE, SPARE, budgets=list(self.BUDGET)).ask("--stream")
        first, second = (Decimal(entry["cost_usd"]) for entry in asked.document["trail"])
        assert first == second == (INPUT + OUTPUT) * TOKEN_PRICE_USD
        assert Decimal(asked.document["cost_usd"]) == first + second

    def test_no_second_target_is_asked_for_more_than_is_allowed(self, chained, streams):
        """The broken stream has used up what the caller was ready to pay."""
        streams.plays("google", [*FOUR_TOKENS, CUT])
        asked = chained(GOOGLE, SPARE).ask("--stream", "--max-cost", "2.5")
        assert asked.code == 4
        assert streams.count("spare") == 0
