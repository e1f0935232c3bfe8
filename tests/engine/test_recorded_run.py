"""A run of the driver, recorded by its trace: the events alone give the same end again, step by step."""

import pytest
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.routing import ask_machine, ask_state
from llmfail.core.routing.ask_events import Event
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync

RUNS = {
    "the primary answers": {"a": [answer()]},
    "a retry, then a fallback": {"a": [error(503), error(500)], "b": [answer()]},
    "a rate limit, then a fallback": {"a": [error(429, retry_after="30")], "b": [answer()]},
    "nobody answers": {"a": [error(503)], "b": [error(401)], "c": [error(500)]},
    "two witnesses refuse": {"a": [error(400)], "b": [error(422)]},
}


@pytest.mark.parametrize("script", RUNS.values(), ids=RUNS)
def test_the_events_of_a_recorded_run_give_the_same_state_and_operations_again(tmp_path, monkeypatch, script):
    played = ScriptedEngine(tmp_path, script)
    plans, events, operations = [], [], []

    def begin(plan, begin=ask_state.begin):
        plans.append(plan)
        return begin(plan)

    def trace(step, moment):
        if isinstance(step, Event):
            events.append((step, moment))
        else:
            operations.append(step)

    monkeypatch.setattr(ask_state, "begin", begin)
    receipt = run_sync(Engine(played.settings, played.ports, trace).ask(Ask(to_messages("hi"))))
    [plan] = plans
    state, commands = ask_state.begin(plan), []
    for event, moment in events:
        state, more = ask_machine.step(state, event, moment)
        commands += more
    assert commands == operations
    assert state.stage is ask_state.Stage.OVER
    assert state.trail == receipt.trail
    assert (state.found is not None) == (receipt.answer is not None)
