"""The private parts of aiohttp that the server uses. Where one of these fails, `pyproject.toml` must keep
that version of aiohttp out until `llmfail/http_server/http_app.py` has been adapted.
"""

import asyncio

import pytest
from aiohttp import web


def on_a_loop(make):
    async def run():
        return make()

    return asyncio.run(run())


def make_connection():
    return web.RequestHandler(web.Server(None), loop=asyncio.get_running_loop())


@pytest.mark.parametrize("name", ["_waiter", "_loop", "connection_made", "data_received", "force_close"])
def test_aiohttp_has_what_a_connection_replaces(name):
    assert hasattr(on_a_loop(make_connection), name), f"RequestHandler.{name} is gone"


@pytest.mark.parametrize("name", ["_connections", "connection_made", "connections", "shutdown"])
def test_aiohttp_has_what_the_server_replaces(name):
    assert hasattr(on_a_loop(lambda: web.Server(None)), name), f"Server.{name} is gone"


@pytest.mark.parametrize("name", ["_keep_alive", "_req", "prepare", "write_eof"])
def test_aiohttp_has_what_a_whole_response_replaces(name):
    assert hasattr(web.StreamResponse, name), f"StreamResponse.{name} is gone"


def test_aiohttp_may_send_the_head_of_a_stream_with_its_first_piece():
    assert web.StreamResponse._send_headers_immediately is True
