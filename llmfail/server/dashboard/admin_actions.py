"""What an operator does on the dashboard. Nothing here changes keys or the configuration."""

from __future__ import annotations

import asyncio
from typing import Literal

from llmfail.core.errors import LlmfailError, UsageError
from llmfail.core.one_line import one_line
from llmfail.core.receipt import Receipt
from llmfail.core.reports.figures import milliseconds
from llmfail.server.gateway_client import GatewayClient

ActionName = Literal["reset", "trip", "probe"]
TRIP_SECONDS = 30 * 60.0
PROBE_SECONDS = 10.0
"""How long the page waits for a probe, which goes on by itself."""


class AdminActions:
    """The probes that are under way are its own, whoever waits for them."""

    def __init__(self) -> None:
        self._probes: set[asyncio.Task[Receipt]] = set()

    async def run(self, client: GatewayClient, action: ActionName, name: str) -> str:
        """What was done, in words."""
        try:
            match action:
                case "reset":
                    changed = await client.reset(name or None)
                    return f"reset: {', '.join(changed)}" if changed else "there was nothing to reset"
                case "trip":
                    changed = await client.trip(name, TRIP_SECONDS)
                    return f"forced open for 30 minutes: {', '.join(changed)}"
                case "probe":
                    return await self._probe(client, name)
        except LlmfailError as error:
            return f"{action} failed: {one_line(str(error))}"

    async def close(self) -> None:
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    async def _probe(self, client: GatewayClient, name: str) -> str:
        targets = client.probe_targets(name)
        if len(targets) != 1:
            raise UsageError("a probe asks one target")
        probe = asyncio.create_task(client.probe(targets[0]))
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)
        done, _ = await asyncio.wait({probe}, timeout=PROBE_SECONDS)
        if not done:
            return f"{name} is being probed; its row will tell what came of it"
        entry = probe.result().trail[0]
        took = f" in {milliseconds(entry.latency_ms)}" if entry.latency_ms is not None else ""
        return one_line(
            f"probe of {name}: {entry.shown_outcome.replace('_', ' ')}{took}; {entry.note}".rstrip("; ")
        )
