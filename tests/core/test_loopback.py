"""Which hosts are this machine itself."""

import pytest

from llmfail.core.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "0:0::0:1"])
def test_this_machine_is_known_by_its_address(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.1.invalid",
        "127.evil.example",
        "localhost.evil.example",
        "nowhere",
        "128.0.0.1",
        "0.0.0.0",
        "::2",
        "::",
    ],
)
def test_and_not_by_how_a_name_begins(host):
    assert not is_loopback(host)
