"""The dashboard on a server of its own, over a client with a state on disk, in a thread beside the tests."""

import asyncio
import threading

from aiohttp import ClientConnectionResetError, web

from llmfail import AsyncClient
from llmfail.http_server.message import IncomingRequest
from llmfail.server.dashboard.dashboard import Dashboard


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
        async with AsyncClient(self.config) as client:
            self._dashboard = Dashboard(client, self.token, self.said.append)
            self.link = await self._dashboard.start()
            app = web.Application()
            for method, path in self._dashboard.routes:
                app.router.add_route(method, path, self._answer)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._over.wait()
            await self._dashboard.close()
            await runner.cleanup()

    async def _answer(self, request):
        reply = await self._dashboard.handle(
            IncomingRequest(
                request.method,
                request.path,
                request.query_string,
                {name.lower(): value for name, value in request.headers.items()},
                await request.read(),
                request.remote or "",
            )
        )
        if reply.stream is None:
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        sent = web.StreamResponse(status=reply.status, headers=reply.headers)
        await sent.prepare(request)
        try:
            async for piece in reply.stream:
                await sent.write(piece)
        except ClientConnectionResetError:
            pass
        finally:
            await reply.stream.aclose()
        return sent
