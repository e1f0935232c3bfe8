"""What a reply says was used, by the rules of each provider, whole or as a stream."""

import json

import pytest

from llmfail.core.classification.body import parse
from llmfail.core.model import Usage
from llmfail.providers import load_wire_format
from llmfail.providers.stream import Finished


def decoded(api, document):
    return load_wire_format(api).decode(parse(json.dumps(document).encode()))


def streamed(api, *events):
    stream = load_wire_format(api).make_stream_decoder()
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    (finished,) = [event for event in [*stream.feed(raw), *stream.finish()] if isinstance(event, Finished)]
    return finished.completion


def of_claude(model="claude-sonnet-5-5", **usage):
    content = [{"type": "text", "text": "Hi"}]
    usage = {"input_tokens": 10, "output_tokens": 2, **usage}
    return decoded("anthropic", {"model": model, "content": content, "usage": usage}).usage


def of_chat(usage=None, **more):
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, **(usage or {})}
    return decoded("openai", {"choices": [choice], "usage": usage, **more}).usage


def of_gemini(**usage):
    candidate = {"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, **usage}
    return decoded("gemini", {"candidates": [candidate], "usageMetadata": usage}).usage


def test_what_claude_wrote_for_an_hour_is_a_part_of_what_it_wrote():
    writes = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70}
    usage = of_claude(cache_creation_input_tokens=100, cache_read_input_tokens=5, cache_creation=writes)
    assert usage == Usage(115, 5, 100, 70, output_tokens=2)


def test_a_part_for_an_hour_is_no_more_than_the_whole():
    writes = {"ephemeral_1h_input_tokens": 700}
    assert of_claude(cache_creation_input_tokens=100, cache_creation=writes).cache_write_1h_tokens == 100


@pytest.mark.parametrize(
    ("said", "variant"),
    [
        ({}, None),
        ({"service_tier": "standard", "speed": "standard"}, None),
        ({"service_tier": None, "speed": None}, None),
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": 7, "speed": ["fast"]}, None),
        ({"service_tier": "brand-new"}, None),
    ],
)
def test_the_variant_of_claude_is_its_speed_or_its_tier(said, variant):
    assert of_claude(**said).variant == variant


@pytest.mark.parametrize(
    ("model", "place", "surcharge"),
    [
        ("claude-sonnet-5-5", "us", 10),
        ("claude-opus-4-6", "us", 10),
        ("claude-haiku-4-5", "us", 0),
        ("claude-haiku-4-5-20251001", "us", 0),
        ("claude-sonnet-5-5", "global", 0),
        ("claude-sonnet-5-5", None, 0),
        ("", "us", 0),
    ],
)
def test_claude_costs_more_in_the_us_from_4_6_on(model, place, surcharge):
    assert of_claude(model, inference_geo=place).surcharge == surcharge


def test_a_refusal_before_any_output_is_not_billed_and_one_in_the_middle_is():
    whole = {"model": "claude-x", "stop_reason": "refusal", "usage": {"input_tokens": 9, "output_tokens": 1}}
    assert not decoded("anthropic", {**whole, "content": []}).billed
    assert decoded("anthropic", {**whole, "content": [{"type": "text", "text": "Well"}]}).billed


def test_a_stream_of_claude_says_it_at_its_start_and_the_last_number_wins():
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 8,
        "cache_creation": {"ephemeral_1h_input_tokens": 8},
        "output_tokens": 1,
        "service_tier": "priority",
        "inference_geo": "us",
    }
    completion = streamed(
        "anthropic",
        {"type": "message_start", "message": {"model": "claude-sonnet-5-5", "usage": usage}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}},
        {"type": "message_stop"},
    )
    assert completion.usage == Usage(18, 0, 8, 8, output_tokens=40, variant="priority", surcharge=10)


@pytest.mark.parametrize(
    ("tier", "variant"),
    [
        (None, None),
        ("default", None),
        ("auto", None),
        ("on_demand", None),
        ("scale", None),
        ("flex", "flex"),
        ("priority", "priority"),
        ("fast", "priority"),
        (["flex"], None),
    ],
)
def test_the_variant_of_a_chat_is_the_tier_that_served_it(tier, variant):
    assert of_chat(service_tier=tier).variant == variant
    assert of_chat({"service_tier": tier}).variant == variant


def test_the_tier_of_a_streamed_chat_stands_in_its_chunks():
    completion = streamed(
        "openai",
        {"service_tier": "flex", "choices": [{"delta": {"content": "Hi"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}},
    )
    assert completion.usage == Usage(10, output_tokens=2, variant="flex")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}},
            Usage(10, 4, 3, output_tokens=2),
        ),
        ({"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, Usage(10, 4, output_tokens=2)),
        (
            {"prompt_cache_hit_tokens": 4, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(10, 4, output_tokens=2),
        ),
        ({"cached_tokens": 4}, Usage(10, 4, output_tokens=2)),
        (
            {"total_tokens": 19, "completion_tokens_details": {"reasoning_tokens": 7}},
            Usage(10, output_tokens=9, reasoning_tokens=7),
        ),
        (
            {"total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 1}},
            Usage(10, output_tokens=2, reasoning_tokens=1),
        ),
        ({"prompt_audio_seconds": None, "num_requests": 1}, Usage(10, output_tokens=2)),
    ],
    ids=["OpenAI", "DeepSeek", "DeepSeek, both", "Together", "xAI", "reasoning inside", "Mistral"],
)
def test_each_vendor_tells_its_parts_in_its_own_way(said, expected):
    assert of_chat(said) == expected


def test_groq_may_send_the_usage_of_a_stream_apart():
    completion = streamed(
        "openai",
        {"choices": [{"delta": {"content": "Hi"}}]},
        {
            "choices": [{"delta": {}, "finish_reason": "stop"}],
            "x_groq": {"usage": {"prompt_tokens": 10, "completion_tokens": 2}},
        },
    )
    assert completion.usage == Usage(10, output_tokens=2)


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        ({"cost": 0.00125}, 1_250_000_000),
        (
            {"cost": 0.00125, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.00125}},
            1_250_000_000,
        ),
        (
            {"cost": 0.00001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0002}},
            210_000_000,
        ),
        ({"cost": 0.00001, "is_byok": True}, None),
    ],
    ids=["its own", "told twice", "a key of one's own", "a key of one's own, half told"],
)
def test_h3_openrouter_tells_its_cost(said, cost):
    assert of_chat(said).reported_cost == cost


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        (
            {"search_context_size": "low", "cost": {"request_cost": 0.005, "total_cost": 0.00515}},
            5_150_000_000,
        ),
        ({"cost": {"currency": "USD", "total_cost": 2.8e-8}}, 28_000),
        ({"cost": {"currency": "EUR", "total_cost": 0.5}}, None),
        ({"cost": {"request_cost": 0.005}}, None),
        ({"cost": {"total_cost": "much"}}, None),
        ({"cost": {"total_cost": -1}}, None),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600_000),
        ({"cost_in_usd_ticks": 0}, 0),
        ({"cost_in_usd_ticks": -5}, None),
        ({"cost_in_usd_ticks": True}, None),
        ({"cost_in_usd_ticks": 10**20}, None),
    ],
)
def test_h3_perplexity_and_xai_tell_their_cost(said, cost):
    assert of_chat(said).reported_cost == cost


def test_h3_a_cost_without_counts_is_a_cost_all_the_same():
    usage = of_chat({"prompt_tokens": None, "completion_tokens": "many", "cost": {"total_cost": 0.5}})
    assert usage == Usage(estimated=True, reported_cost=500_000_000_000)


@pytest.mark.parametrize(
    ("usage", "finish", "billed"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 0, "cost": 0.001}, None, False),
        ({"prompt_tokens": 10, "completion_tokens": 0, "cost": 0.001}, "stop", True),
        ({"prompt_tokens": 10, "completion_tokens": 1, "cost": 0.001}, None, True),
        ({"prompt_tokens": 10, "completion_tokens": 0}, None, True),
        (None, None, True),
    ],
)
def test_openrouter_does_not_charge_for_an_answer_without_output_and_end(usage, finish, billed):
    choice = {"message": {"content": ""}, "finish_reason": finish}
    assert decoded("openai", {"choices": [choice], "usage": usage}).billed is billed


@pytest.mark.parametrize(
    ("said", "variant"),
    [
        ({}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, None),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"serviceTier": "FLEX"}, "flex"),
        ({"serviceTier": "priority", "trafficType": "ON_DEMAND"}, "priority"),
        ({"serviceTier": "standard"}, None),
        ({"serviceTier": 5}, None),
    ],
)
def test_the_variant_of_gemini_is_its_tier_or_its_kind_of_traffic(said, variant):
    assert of_gemini(**said).variant == variant


def test_gemini_bills_thoughts_as_output_and_the_results_of_tools_as_input():
    usage = of_gemini(toolUsePromptTokenCount=7, thoughtsTokenCount=30, cachedContentTokenCount=6)
    assert usage == Usage(17, 6, output_tokens=32, reasoning_tokens=30)


def test_the_last_chunk_of_a_gemini_stream_has_the_tier():
    completion = streamed(
        "gemini",
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}], "usageMetadata": {"promptTokenCount": 10}},
        {
            "candidates": [{"content": {"parts": []}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 2, "serviceTier": "flex"},
        },
    )
    assert completion.usage == Usage(10, output_tokens=2, variant="flex")
