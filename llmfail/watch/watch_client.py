"""A client that judges alerts, and tells those of the configuration of what was raised or is over."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence

from llmfail.client.aio import AsyncClient
from llmfail.core.receipt import Receipt
from llmfail.core.reports.alert_notice import AlertNotice
from llmfail.core.reports.status import Status
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.reports.alert_claims import claim_alert_notices, end_alert_claims, read_alert_book
from llmfail.engine.reports.probe_claims import claim_probes, probe_until_decided
from llmfail.watch.alert_delivery import AlertDelivery


class WatchClient(AsyncClient):
    """Several may watch the same state: of each notice one of them tells."""

    async def judge_alerts(self) -> tuple[Status, tuple[AlertNotice, ...]]:
        """How things are, and what this process has told because it has changed."""
        configuration, holder = self.settings.configuration_id, f"{socket.gethostname()}-{os.getpid()}"
        notices = None
        while notices is None:
            before = await read_alert_book(self._ports, configuration)
            status = await self.status()
            notices = await claim_alert_notices(self._ports, configuration, status, before, holder)
        if notices:
            await self._deliver(notices)
            await end_alert_claims(self._ports, configuration, notices, holder)
        return status, notices

    async def probe_due(self) -> tuple[Receipt, ...]:
        """Ask what the configuration wants to be asked now; each as a call like any other."""
        routes = TargetRoutes(self.settings, self._ports.catalogue)
        chosen = await claim_probes(self._ports, routes)
        probes = (probe_until_decided(self._ports, routes, target, self.probe) for target in chosen)
        return tuple(receipt for receipts in await asyncio.gather(*probes) for receipt in receipts)

    def seconds_to_trial(self, status: Status) -> float | None:
        """Until the first open circuit may be tried, where that is wanted; None: nothing is waited for."""
        if self.settings.probe is None:
            return None
        now = time.time()
        ends = [one.gate_view.retry_at for one in status.targets if one.gate_view.retry_at is not None]
        due = [now for one in status.targets if one.is_on_trial and one.is_usable]
        return max(min(ends + due) - now, 0.0) if ends or due else None

    async def _deliver(self, notices: Sequence[AlertNotice]) -> None:
        """To all at once, so that one that hangs holds up nobody else; to each in their order."""
        delivery = AlertDelivery(self.settings, self._wire.send, self._resources.warn)
        await asyncio.gather(*(deliver(notices) for deliver in delivery.recipients))
