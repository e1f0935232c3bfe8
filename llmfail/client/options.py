"""An Ask from what a caller writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Unpack

from llmfail.core.errors import UsageError
from llmfail.core.model import Message, Target
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.ask_options import Options
from llmfail.core.request.expectation import Expectation
from llmfail.settings.schema.scalars import LONGEST_DURATION_SECONDS

MAX_USER_LENGTH = 256
"""Characters of a user's id."""
MAX_COST_USD = 1_000_000


def ask_of(prompt: str | Sequence[Message], **options: Unpack[Options]) -> Ask:
    """An Ask from what a caller writes. Raises UsageError for a target that is none."""
    model = options.get("model", ())
    attachments = options.get("attachments", ())
    if attachments and not isinstance(prompt, str):
        raise UsageError("attachments go with a prompt; in a conversation each Message has its own")
    for name in ("max_tokens", "timeout", "deadline"):
        if (value := options.get(name)) is not None and not 0 < value <= LONGEST_DURATION_SECONDS:  # type: ignore[operator]
            raise UsageError(
                f"{name} must be a number above 0 and at most {LONGEST_DURATION_SECONDS:.0f}, got {value!r}"
            )
    messages = to_messages(prompt, *attachments) if isinstance(prompt, str) else tuple(prompt)
    try:
        targets = tuple(map(Target.parse, [model] if isinstance(model, str) else model))
    except ValueError as error:
        raise UsageError(str(error)) from error
    temperature = options.get("temperature")
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise UsageError(f"temperature must be a number from 0, got {temperature!r}")
    if isinstance(options.get("stop"), str):
        raise UsageError("stop is a list of texts, got one text")
    if (user := options.get("user")) is not None:
        _check_user(user)
    if not 0 <= options.get("wait", 0.0) <= LONGEST_DURATION_SECONDS:
        raise UsageError(
            f"wait is a number of seconds from 0 to {LONGEST_DURATION_SECONDS:.0f}, got {options['wait']!r}"
        )
    _check_hedge(options.get("hedge"))
    if (schema := options.get("schema")) is not None:
        _check_schema(schema)
    own = {"model", "attachments", "max_cost", "expect"}
    rest: dict[str, Any] = {key: options[key] for key in options.keys() - own}  # type: ignore[literal-required]
    return Ask(
        messages,
        targets=targets,
        max_cost=_pico(options.get("max_cost")),
        expect=_expectation(options.get("expect", ())),
        **rest,
    )


def _check_schema(schema: Mapping[str, Any]) -> None:
    """A schema that is none would reject every answer, once it is paid for."""
    from llmfail.core.request.expectation import find_problem

    if (problem := find_problem(Expectation(schema=schema))) is not None:
        raise UsageError(problem)


def _expectation(wanted: str | Sequence[str]) -> Expectation:
    from llmfail.core.request.expectation import merge, parse

    expected = Expectation()
    for one in [wanted] if isinstance(wanted, str) else wanted:
        try:
            expected = merge(expected, parse(one))
        except ValueError as error:
            raise UsageError(f"expect: {error}") from None
    return expected


def _check_hedge(hedge: Any) -> None:  # noqa: ANN401 - whatever somebody passed
    if (
        hedge is None
        or hedge == "p95"
        or (type(hedge) in {int, float} and 0 < hedge <= LONGEST_DURATION_SECONDS)
    ):
        return
    raise UsageError(f"hedge is a number of seconds above 0, or p95, got {hedge!r}")


def _check_user(user: str) -> None:
    if not 0 < len(user) <= MAX_USER_LENGTH:
        raise UsageError(f"user is a text of 1 to {MAX_USER_LENGTH} characters, got {len(user)}")
    try:
        user.encode()
    except UnicodeEncodeError:
        raise UsageError("user is a text that UTF-8 can encode") from None


def _pico(usd: Decimal | float | str | None) -> int | None:
    """Whole pico-dollars; a float is taken for what it prints as."""
    if usd is None:
        return None
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MAX_COST_USD:
        raise UsageError(f"max_cost is an amount of 0 to {MAX_COST_USD:,} US dollars, got {usd!r}")
    return int(amount * PICO_PER_DOLLAR)


def embed_ask_of(texts: Sequence[str], options: Options) -> Ask:
    """One message for each text, of which vectors are wanted. Raises UsageError."""
    return ask_of([Message("user", text) for text in texts], **options)
