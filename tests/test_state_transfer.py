"""The state moves between disk, Redis and a file, and is the same afterwards."""

import json
from functools import partial

import pytest
from forked_program import run_llmfail
from shared_config import write_shared_config

from llmfail import Client


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return run_llmfail("--config", tmp_path / "llmfail.yaml", *arguments)

    return run


@pytest.fixture
def configure(tmp_path, simulator):
    return partial(write_shared_config, tmp_path, simulator, timeout="2s")


def books(config):
    with Client(config) as client:
        status = client.status().to_json()
        return status["budgets"], status["routing"], client.usage("day").to_json()


@pytest.mark.disk
def test_state_moves_from_disk_to_redis_and_by_a_file_back_to_a_disk(
    run, configure, redis_url, tmp_path, monkeypatch
):
    config = configure("disk")
    with Client(config) as client:
        for _ in range(3):
            client.ask("hi")
    before = books(config)
    assert before[1]["total_requests"] == 3
    moved = run("store", "migrate", "disk", redis_url, "--json")
    assert json.loads(moved.stdout)["records"] > 5
    refused = run("store", "migrate", "disk", redis_url)
    assert refused.returncode == 2
    configure(redis_url)
    assert books(config) == before
    with Client(config) as client:
        client.ask("hi")
    later = books(config)
    assert later[1]["total_requests"] == 4
    assert run("store", "check").stdout.startswith("store: 127.0.0.1:")
    assert run("store", "export", tmp_path / "state.jsonl").returncode == 0
    configure("disk")
    monkeypatch.setenv("LLMFAIL_STATE_DIR", str(tmp_path / "other"))
    assert run("store", "import", tmp_path / "state.jsonl").returncode == 0
    assert books(config) == later


@pytest.mark.disk
def test_a_store_that_cannot_be_had_is_exit_2_and_a_file_that_is_none_too(run, configure, tmp_path):
    configure("redis://:made-up-secret@127.0.0.1:1/0")
    found = run("store", "check")
    assert found.returncode == 2
    assert "made-up-secret" not in found.stdout + found.stderr
    configure("disk")
    (tmp_path / "none.jsonl").write_text("{}\n")
    assert run("store", "import", tmp_path / "none.jsonl").returncode == 2


def test_status_names_the_server(configure, redis_url):
    config = configure(redis_url)
    with Client(config) as client:
        status = client.status()
    assert status.to_json()["store_server"]["role"] == "master"
    assert status.store_name.startswith("redis 127.0.0.1:")
