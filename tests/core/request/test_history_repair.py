"""A conversation in the form that each wire asks for; what is valid stays as it is."""

import pytest

from llmfail.core.conversation import Message, Text, ToolCall, ToolResult
from llmfail.core.request.history_repair import MISTRAL_RULES, NO_RESULT, RULES, repair_history

ROME, OSLO = ToolCall("a", "weather", "{}"), ToolCall("b", "weather", "{}")
SUN, SNOW = ToolResult("a", "sun", "weather"), ToolResult("b", "snow", "weather")


def user(*parts):
    return Message("user", parts)


def model(*parts):
    return Message("assistant", parts)


VALID = (Message("user", "Hi"), model(Text("I look."), ROME, OSLO), user(SUN, SNOW), model(Text("Fine.")))


@pytest.mark.parametrize("dialect", RULES)
def test_what_is_valid_stays_as_it_is(dialect):
    assert repair_history(VALID, RULES[dialect]) == VALID


@pytest.mark.parametrize("dialect", RULES)
@pytest.mark.parametrize(
    ("broken", "repaired"),
    [
        pytest.param((model(ROME, OSLO), user(SNOW, SUN)), (model(ROME, OSLO), user(SUN, SNOW)), id="order"),
        pytest.param(
            (model(ROME, OSLO), user(SUN), user(SNOW)),
            (model(ROME, OSLO), user(SUN, SNOW)),
            id="results in several turns",
        ),
        pytest.param(
            (model(ROME, OSLO), user(SUN)),
            (model(ROME, OSLO), user(SUN, ToolResult("b", NO_RESULT, "weather", is_error=True))),
            id="a call without a result",
        ),
        pytest.param(
            (model(ROME), model(Text("Well."))),
            (
                model(ROME),
                user(ToolResult("a", NO_RESULT, "weather", is_error=True)),
                model(Text("Well.")),
            ),
            id="a call that nobody answered",
        ),
        pytest.param(
            (model(ROME),),
            (model(ROME), user(ToolResult("a", NO_RESULT, "weather", is_error=True))),
            id="a call at the end",
        ),
        pytest.param(
            (model(ROME), user(SUN, Text("And now?"))),
            (model(ROME), user(SUN, Text("And now?"))),
            id="a text behind the results",
        ),
        pytest.param(
            (model(ROME), user(Text("And now?"), SUN)),
            (model(ROME), user(SUN, Text("And now?"))),
            id="a text before the results",
        ),
        pytest.param(
            (user(SUN),),
            (user(Text("<tool_result>\nsun\n</tool_result>")),),
            id="a result of no call",
        ),
        pytest.param(
            (model(ROME), user(ToolResult("a", "sun"))),
            (model(ROME), user(SUN)),
            id="a result without the name of its tool",
        ),
    ],
)
def test_each_call_is_followed_by_its_result(dialect, broken, repaired):
    assert repair_history(broken, RULES[dialect]) == repaired


@pytest.mark.parametrize(
    ("dialect", "joined"), [("anthropic", True), ("gemini", True), ("chat", False), ("responses", False)]
)
def test_turns_of_one_side_are_one_where_the_wire_wants_that(dialect, joined):
    turns = (Message("user", "one"), Message("user", "two"))
    one = (user(Text("one"), Text("two")),)
    assert repair_history(turns, RULES[dialect]) == (one if joined else turns)


@pytest.mark.parametrize("dialect", RULES)
def test_a_system_turn_in_the_middle_is_told_where_there_is_none(dialect):
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("system", "Be brief."))
    *_, last = repair_history(turns, RULES[dialect])
    kept = dialect in {"chat", "responses"}
    assert last == (turns[2] if kept else Message("user", "<system>\nBe brief.\n</system>"))


def test_a_text_behind_a_call_moves_before_it_where_the_wire_refuses_it():
    turn = model(Text("one"), ROME, Text("two"), OSLO)
    repaired, _ = repair_history((turn,), RULES["anthropic"])
    assert repaired == model(Text("one"), Text("two"), ROME, OSLO)
    assert repair_history((turn,), RULES["gemini"])[0] == turn


@pytest.mark.parametrize(
    ("given", "rules", "form"),
    [
        ("functions.weather:0", RULES["anthropic"], "call_"),
        ("x" * 41, RULES["chat"], "call_"),
        ("x" * 65, RULES["responses"], "call_"),
        ("call_1", MISTRAL_RULES, ""),
        ("", RULES["chat"], "call_"),
    ],
)
def test_an_id_that_the_wire_refuses_is_another_alike_in_call_and_result(given, rules, form):
    turns = (model(ToolCall(given, "weather", "{}")), user(ToolResult(given, "sun")))
    called, answered = repair_history(turns, rules)
    assert called.parts[0].id == answered.parts[0].call_id != given
    assert called.parts[0].id.startswith(form)
    assert repair_history((called, answered), rules) == (called, answered)
