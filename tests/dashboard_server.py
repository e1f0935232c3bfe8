"""The dashboard on a server of its own, over a client with a state on disk, in a thread beside the tests."""

import asyncio
import threading

from msgspec.structs import replace

from llmfail.http_server.http_app import HttpServer
from llmfail.http_server.listen_address import bind
from llmfail.server.dashboard.dashboard import MAX_FORM_BYTES, Dashboard
from llmfail.server.gateway_client import GatewayClient


class DashboardServer:
    def __init__(self, config, token=None, port=0):
        self.config, self.token, self.port = config, token, port
        self.said, self.link, self.errors = [], None, []
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_exc_info):
        self.stop()

    def stop(self):
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()
            self._loop.close()

    @property
    def is_watched(self):
        return self._dashboard._updates._producing is not None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self):
        self._over = asyncio.Event()
        self._loop.set_exception_handler(lambda _loop, context: self.errors.append(context))
        async with GatewayClient(self.config) as client:
            self._dashboard = Dashboard(client, self.token, self.said.append)
            self.link = await self._dashboard.start()
            server = HttpServer(self._answer)
            listener = bind("127.0.0.1", self.port)
            self.port = listener.getsockname()[1]
            await server.open(listener)
            self._ready.set()
            await self._over.wait()
            await self._dashboard.close()
            await server.close()

    async def _answer(self, exchange):
        body = await exchange.read_body(MAX_FORM_BYTES)
        return await self._dashboard.handle(replace(exchange.request, body=body))
