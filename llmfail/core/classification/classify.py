"""How a reply, a failure on the wire or a decoded answer becomes an outcome.

The body counts before the status, and a structured code before a text: ``error_rules`` has the rules,
``provider_codes`` their tables, ``error_body`` the shapes of error bodies, ``retry_hints`` the times, and
``outcome`` what follows from an outcome. ``x-should-retry`` is not read: the kind decides whether a failure
may pass.
"""

from __future__ import annotations

from llmfail.core.classification.body import Payload
from llmfail.core.classification.error_body import find_error
from llmfail.core.classification.finish_reason import kind_of_broken_end
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import MalformedReply, WireError
from llmfail.core.model import Completion, Reply, Secret
from llmfail.core.one_line import one_line


def classify_reply(reply: Reply, payload: Payload, now: float, hide: Secret | None = None) -> Outcome | None:
    """The outcome of a reply that is an error by its status or its body; None for one that is to be decoded.
    ``payload`` is ``parse(reply.body)``, or the error event of a stream; ``hide`` is masked in the note.
    """
    healthy = 200 <= reply.status < 300
    fault = find_error(payload, failed=not healthy)
    if healthy and fault is None:
        return None
    from llmfail.core.classification.error_rules import classify_error_reply

    return classify_error_reply(reply, payload, fault, now, hide)


def classify_error(error: WireError | MalformedReply, hide: Secret | None = None) -> Outcome:
    """The outcome when no whole reply arrived, or one that its wire format does not allow."""
    note = one_line(str(error), hide)
    if isinstance(error, MalformedReply):
        return Outcome(Kind.MALFORMED, note, status=200)
    match error.cause:
        case "timeout":
            return Outcome(Kind.TIMEOUT, note)
        case "cut":
            return Outcome(Kind.MALFORMED, note)
        case "turn" | "standstill" | "closed" | "exhaustion":
            return Outcome(Kind.CANCELLED, note)
        case "resolve" | "route":
            return Outcome(Kind.NETWORK, note, is_unreachable=True)
        case _:
            return Outcome(Kind.NETWORK, note)


def classify_completion(
    completion: Completion, hide: Secret | None = None, *, nonempty: bool = True, tools: bool = False
) -> Outcome:
    """The outcome of a decoded answer, before the expectation is checked. An answer that was cut at its
    length is ok, and so is one that calls one of the ``tools`` that were offered.
    """
    detail = one_line(completion.detail, hide)
    if completion.finish_reason == "refusal":
        return Outcome(Kind.REFUSAL, detail or "the model refused", status=200)
    if completion.finish_reason == "content_filter":
        return Outcome(Kind.CONTENT_BLOCKED, detail or "the content filter stopped the answer", status=200)
    if completion.finish_reason == "other" and detail:
        kind = kind_of_broken_end(completion.detail)
        return Outcome(kind, f"the answer ended with {detail}", status=200)
    if nonempty and not completion.text.strip() and not (tools and completion.tool_calls):
        return Outcome(Kind.REJECTED_ANSWER, _explain_empty(completion), status=200)
    return Outcome(Kind.OK, status=200)


def _explain_empty(completion: Completion) -> str:
    if completion.finish_reason == "length":
        return "no text: all of max_tokens went into reasoning; allow more tokens"
    if completion.finish_reason == "tool_calls":
        return "no text: the model asked for a tool"
    return "no text in the answer"
