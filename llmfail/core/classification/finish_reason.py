"""What a provider's word for the end of an answer means, on whichever wire it comes.

Gateways translate one wire into another and keep the first one's words, so there is one table for all,
without regard to case. The lists are closed: a word that is in none of them says that the answer is broken,
because a half answer that passes as a whole one is worse than a second call. Sources: the API references of
OpenAI, Anthropic, Gemini, Mistral, Cohere, AI21, Bedrock, Hugging Face TGI, watsonx, Zhipu, Ollama, vLLM and
SGLang.
"""

from __future__ import annotations

from llmfail.core.classification.outcome import Kind
from llmfail.core.model import FinishReason

_WORDS: dict[FinishReason, str] = {
    "stop": (
        "stop end end_turn end_of_text normal stop_sequence stop_criteria_met eos eos_token endoftext "
        "complete completed finish finished"
    ),
    "length": (
        "length max_tokens maximum_tokens max_output max_length max_output_tokens max_completion_tokens "
        "model_length token_limit model_context_window_exceeded context_window_exceeded "
        "context_length_exceeded"
    ),
    "content_filter": (
        "content_filter content_filtered contentfilter safety recitation language blocklist blacklist "
        "prohibited_content spii model_armor escalation guardrail_intervened sensitive error_toxic "
        "image_safety image_prohibited_content image_recitation image_other"
    ),
    "refusal": "refusal",
    "tool_calls": "tool_calls tool_call tool_use function_call",
}
_KNOWN: dict[str, FinishReason] = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_BROKEN_KINDS = {
    "insufficient_system_resource": Kind.OVERLOADED,
    "malformed_response": Kind.MALFORMED,
    "pup_limited_disabled": Kind.PERMISSION,
}
"""What a broken end says of its target, where it says more than that the server failed."""


def explain_end(word: str) -> str:
    """What people should know of the word for an end: one that no list has, and that of a full context."""
    reason = read_finish_reason(word)
    return word if reason == "other" or (reason == "length" and "context" in word.lower()) else ""


def read_finish_reason(word: str) -> FinishReason:
    """``other`` for a word that no list has, and for none at all."""
    return _KNOWN.get(word) or _KNOWN.get(word.strip().lower(), "other")


def kind_of_broken_end(word: str) -> Kind:
    """The outcome of an answer that ended with a word that no list has."""
    return _BROKEN_KINDS.get(word.strip().lower(), Kind.SERVER_ERROR)
