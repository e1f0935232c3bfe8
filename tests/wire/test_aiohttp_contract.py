"""The private parts of aiohttp that the wire uses. Where one of these fails, `pyproject.toml` must keep that
version of aiohttp out until `llmfail/wire/connector.py` and `aio.py` have been adapted.
"""

import asyncio
import inspect

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection


def on_a_loop(make):
    async def run():
        made = make()
        if isinstance(made, aiohttp.BaseConnector):
            await made.close()
        return made

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["_factory", "_loop", "connect"])
def test_aiohttp_has_what_the_connector_replaces(name):
    assert hasattr(on_a_loop(aiohttp.TCPConnector), name), f"TCPConnector.{name} is gone"


@pytest.mark.parametrize(
    "name",
    [
        "_tail",
        "_loop",
        "transport",
        "is_connected",
        "should_close",
        "force_close",
        "data_received",
        "connection_lost",
        "abort",
    ],
)
def test_aiohttp_has_what_the_protocol_of_a_connection_replaces(name):
    protocol = on_a_loop(lambda: ResponseHandler(asyncio.get_running_loop()))
    assert hasattr(protocol, name), f"ResponseHandler.{name} is gone"


@pytest.mark.parametrize("name", ["protocol", "close"])
def test_aiohttp_has_what_is_asked_of_a_connection(name):
    assert hasattr(Connection, name), f"Connection.{name} is gone"


def test_aiohttp_asks_for_a_connection_as_it_did():
    assert [*inspect.signature(aiohttp.TCPConnector.connect).parameters] == [
        "self",
        "req",
        "traces",
        "timeout",
    ]


def test_aiohttp_knows_by_a_key_which_requests_go_to_the_same_server():
    assert hasattr(aiohttp.ClientRequest, "connection_key")


def test_aiohttp_takes_the_factory_of_protocols_from_the_connector():
    assert "self._factory" in inspect.getsource(aiohttp.TCPConnector)
