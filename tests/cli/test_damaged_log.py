"""What the log makes of records that were damaged, or written by somebody else."""

import json

import pytest
from llmfail_process import open_state, run_llmfail, run_on_terminal, write_config

from llmfail.core.records.record import Write


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))


def damage(change):
    """Change the stored record of the first request; the id of the second, which stays."""
    ids = [run_llmfail("ask", "hi", "--json").json["id"] for _ in range(2)]
    with open_state() as store:
        values, _ = store.read(["log/0"])
        record = json.loads(values["log/0"])
        assert record["id"] == ids[0]
        change(record)
        store.update(["log/0"], lambda _values, _now: ({"log/0": Write(json.dumps(record))}, None))
    return ids[1]


DAMAGE = {
    "a key is missing": lambda record: record.pop("ok"),
    "a moment is none": lambda record: record.update(at="yesterday"),
    "a moment before all clocks": lambda record: record.update(at="0001-01-01T00:00:00Z"),
    "a cost is none": lambda record: record.update(cost_usd="NaN"),
    "a trail is none": lambda record: record.update(trail="openai"),
    "a line of the trail is damaged": lambda record: record["trail"][0].pop("outcome"),
    "a failure without its error": lambda record: record.update(ok=False),
    "an id is a number": lambda record: record.update(id=7),
    "usage is damaged": lambda record: record.update(usage={}),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("arguments", [(), ("--json",), ("--failed",)], ids=" ".join)
def test_a_damaged_record_is_skipped(change, arguments):
    sound = damage(change)
    done = run_llmfail("log", *arguments)
    assert done.code == 0
    assert "bug" not in done.err
    assert len(done.lines) == {(): 2, ("--json",): 1, ("--failed",): 0}[arguments]
    assert run_llmfail("log", sound).code == 0


def rename(record):
    record["target"] = record["trail"][0]["target"] = "ok/\x1b[31mred"
    record["feature"] = "\x1b]0;title\x07"


def test_stored_names_give_a_terminal_no_orders():
    damage(rename)
    first = run_llmfail("log", "--json").lines[1]
    for arguments in ((), (json.loads(first)["id"],)):
        assert "\x1b" not in run_llmfail("log", *arguments).out
        with run_on_terminal(120, "log", *arguments) as screen:
            assert screen.finish() == 0
        assert "ok/�[31mred" in screen.text
        assert b"title\x07" not in screen.raw
