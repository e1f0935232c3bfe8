"""Who hears of what happens: the callback of a client, and the logger ``llmfail`` of whoever logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

    from llmfail.core.reports.watch_event import OnEvent, WatchEvent

LOGGER_NAME = "llmfail"


class EventListener:
    """``on_event`` may be None. What it raises is logged and changes nothing. The logger is used where the
    program logs: where it has imported ``logging`` and given the logger, or the root, a handler.
    """

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event

    @property
    def is_listening(self) -> bool:
        return self._on_event is not None or _find_logger() is not None

    def tell(self, event: WatchEvent) -> None:
        logger = _find_logger()
        if logger is not None:
            _log(logger, event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # a listener's mistake is its own
            if logger is not None:
                logger.exception("on_event failed for %s", type(event).__name__)


def _find_logger() -> logging.Logger | None:
    """None where nobody would see what it says: then nothing is made for it."""
    module: Any = sys.modules.get("logging")
    if module is None:
        return None
    logger: logging.Logger = module.getLogger(LOGGER_NAME)
    return logger if logger.hasHandlers() else None


def _log(logger: logging.Logger, event: WatchEvent) -> None:
    import logging

    from llmfail.core.reports.watch_event import describe_event, severity_of

    level = logging.getLevelNamesMapping()[severity_of(event).upper()]
    if logger.isEnabledFor(level):
        logger.log(level, "%s", describe_event(event), extra={"event": event})
