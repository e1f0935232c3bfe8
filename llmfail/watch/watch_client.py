"""A client that judges alerts, and tells those of the configuration of what was raised or is over."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from llmfail.client.aio import AsyncClient
from llmfail.core.reports.alert_notice import AlertNotice, list_alerts
from llmfail.core.reports.status import Status
from llmfail.engine.reports.alert_claims import claim_alert_notices, end_alert_claims
from llmfail.watch.alert_delivery import AlertDelivery


class WatchClient(AsyncClient):
    """Several may watch the same state: of each notice one of them tells."""

    async def judge_alerts(self) -> tuple[Status, tuple[AlertNotice, ...]]:
        """How things are, and what this process has told because it has changed."""
        status = await self.status()
        configuration, holder = self.settings.configuration_id, f"{socket.gethostname()}-{os.getpid()}"
        alerts = list_alerts(status)
        notices = await claim_alert_notices(self._ports, configuration, alerts, holder)
        if notices:
            await self._deliver(notices)
            await end_alert_claims(self._ports, configuration, notices, holder)
        return status, notices

    async def _deliver(self, notices: Sequence[AlertNotice]) -> None:
        """To all at once, so that one that hangs holds up nobody else; to each in their order."""
        delivery = AlertDelivery(self.settings, self._wire.send, self._resources.warn)
        await asyncio.gather(*(deliver(notices) for deliver in delivery.recipients))
