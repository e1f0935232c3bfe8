"""A run that its own machine leaves without descriptors: nothing of it is the provider's failure or cost."""

import json
import sys

import pytest
from program import OPENAI, build_config

PRICED = {OPENAI: {"price": {"input": 0, "output": 1000}, "context": 100000, "max_output": 5000}}


def limited(program, files):
    script = (
        f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return program.under(sys.executable, "-c", script)


@pytest.fixture
def budgeted(simulator, configure):
    budgets = [{"name": "b", "limit": 5, "per": "day"}]
    return configure(build_config(simulator, OPENAI, models=PRICED, budgets=budgets))


@pytest.mark.parametrize("files", [6, 7, 9, 12, 13, 16])
def test_e1_a_batch_without_descriptors_opens_no_circuit_and_books_nothing(budgeted, here, files):
    (here / "in.jsonl").write_text("".join(f'"Question {number}"\n' for number in range(12)))
    ended = limited(budgeted, files)("batch", "in.jsonl", "--json")
    assert "bug" not in ended.err, ended.err
    assert "Traceback" not in ended.err, ended.err
    assert b"a bug" not in ended.out
    receipts = [json.loads(line) for line in ended.out.splitlines()]
    cost = sum(float(one["cost_usd"]) for one in receipts)
    status = budgeted.status()
    assert status["providers"][OPENAI]["state"] == "closed"
    (budget,) = status["budgets"]
    assert float(budget["spent_usd"]) == pytest.approx(cost)
    assert float(budget["held_usd"]) == 0
    assert budgeted.ask().code == 0


def test_e1_a_program_that_cannot_even_load_names_the_limit(budgeted):
    ended = limited(budgeted, 6)("batch", "-", stdin=b'"hi"\n')
    assert ended.code == 2
    assert "(ulimit -n); raise that limit" in ended.err or "too many open files" in ended.err
