"""What open pages are sent while something changes: one producer reads for all of them, and only while
somebody looks. A reader that is slow is sent the newest, not everything in between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

import msgspec
from msgspec import Struct, field

from llmfail.core.errors import LlmfailError
from llmfail.server.dashboard.page_data import PageData, PageReader
from llmfail.server.dashboard.pages import BY_NAME, Page, RenderedPage, RowPiece, render_fragments

MAX_LISTENERS = 32
INTERVAL_SECONDS = 0.5
"""Between two looks at least."""
PAUSE_FACTOR = 5
"""So many times as long as a look took is the pause behind it: looking takes a sixth of the time at most."""
KEEP_ALIVE_SECONDS = 15.0
NO_ROW = ""
"""Stands for the newest row where a reader was sent none."""
RETRY_MS = 500
"""After which a browser comes back when its connection has ended."""


_LOG = logging.getLogger("llmfail.server")


class _Seen(Struct):
    """What one reader was sent last."""

    fragments: dict[str, str] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    """The newest row of each fragment of rows."""


class LiveUpdates:
    """``banner`` is what the server has to say of itself."""

    def __init__(self, reader: PageReader, interval: float = INTERVAL_SECONDS) -> None:
        self._reader = reader
        self._interval = interval
        self._watched: list[Page] = []
        self._rendered: dict[str, RenderedPage] = {}
        self._version = 0
        self._is_over = False
        self._changed = asyncio.Condition()
        self._producing: asyncio.Task[None] | None = None
        self.banner = ""

    @property
    def is_full(self) -> bool:
        return len(self._watched) >= MAX_LISTENERS

    async def read(self, page: Page) -> PageData:
        return await self._reader.read(page.topics, self.banner)

    async def listen(self, page: Page) -> AsyncGenerator[bytes, None]:
        """Server-sent events of one page, until the reader leaves: all of it first, then what changes."""
        self._watched.append(page)
        if self._producing is None:
            self._producing = asyncio.create_task(self._produce())
        seen = _Seen()
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            while not self._is_over:
                version = self._version
                events = list(_write_changes(self._rendered.get(page.name), seen))
                yield b"".join(events) if events else b": \n\n"
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS), self._changed:
                        await self._changed.wait_for(lambda: self._version != version)  # noqa: B023
        finally:
            self._watched.remove(page)

    async def close(self) -> None:
        """The end of every stream, so that no open page holds up the end of the server."""
        self._is_over = True
        await self._tell()
        if self._producing is not None:
            self._producing.cancel()
            with suppress(asyncio.CancelledError):
                await self._producing

    async def _produce(self) -> None:
        """Ends with the last reader."""
        while self._watched:
            began = time.monotonic()
            await self._look({page.name for page in self._watched})
            took = time.monotonic() - began
            await asyncio.sleep(max(self._interval, took * PAUSE_FACTOR))
        self._rendered.clear()
        self._producing = None

    async def _look(self, names: set[str]) -> None:
        pages = [BY_NAME[name] for name in sorted(names)]
        topics = frozenset().union(*(page.topics for page in pages))
        try:
            data = await self._reader.read(topics, self.banner)
        except LlmfailError as error:
            _LOG.warning("the dashboard cannot be shown now: %s", error)
            return
        found = {page.name: render_fragments(page, data) for page in pages}
        if found != self._rendered:
            self._rendered = found
            await self._tell()

    async def _tell(self) -> None:
        self._version += 1
        async with self._changed:
            self._changed.notify_all()


def _write_changes(rendered: RenderedPage | None, seen: _Seen) -> Iterator[bytes]:
    if rendered is None:
        return
    for name, html in rendered.fragments.items():
        if seen.fragments.get(name) != html:
            seen.fragments[name] = html
            yield _write_event("fragment", {"name": name, "html": html})
    for name, rows in rendered.rows.items():
        new, is_whole = find_new_rows(rows, seen.rows.get(name))
        seen.rows[name] = rows[0].id if rows else NO_ROW
        if new or is_whole:
            html = "".join(row.html for row in new)
            yield _write_event("rows", {"name": name, "html": html, "whole": is_whole})


def find_new_rows(rows: tuple[RowPiece, ...], newest: str | None) -> tuple[tuple[RowPiece, ...], bool]:
    """Those above the newest that was sent, and whether they replace what was sent before."""
    if newest == NO_ROW:
        return rows, False
    place = next((place for place, row in enumerate(rows) if row.id == newest), None)
    return (rows, True) if place is None else (rows[:place], False)


def _write_event(name: str, content: dict[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(content))
