"""The engine of an event loop over resources that are open already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llmfail.client.connections import LazyAsyncWire
from llmfail.client.resources import Resources
from llmfail.engine.engine import Engine
from llmfail.engine.ports.aio import build_asyncio_ports


@asynccontextmanager
async def open_loop_engine(resources: Resources) -> AsyncIterator[Engine]:
    """With connections of its own, as long as it is open."""
    wire = LazyAsyncWire()
    ports = build_asyncio_ports(wire, resources.stores, resources.catalogue, wire.connect)
    try:
        yield Engine(resources.settings, ports)
    finally:
        await wire.close()
