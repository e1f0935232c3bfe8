"""No test may see the keys, the proxies or the state of whoever runs it."""

import os
from pathlib import Path


def test_home_and_state_are_the_tests_own(tmp_path):
    assert Path.home() == tmp_path / "home"
    assert os.environ["LLMFAIL_STATE_DIR"] == str(tmp_path / "state")


def test_no_key_and_no_proxy_come_from_outside():
    left = [name for name in os.environ if name.upper().endswith(("_API_KEY", "_PROXY"))]
    assert left == []
