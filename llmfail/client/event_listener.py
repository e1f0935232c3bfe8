"""Who hears of what happens: the callback of a client, and the logger ``llmfail`` of whoever logs."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from llmfail.core.receipt import Receipt
    from llmfail.core.reports.watch_event import AskBegun, OnEvent, WatchEvent
    from llmfail.tracing.ask_spans import AskSpans

LOGGER_NAME = "llmfail"


class EventListener:
    """``on_event`` may be None. What it raises is logged and changes nothing. The logger is used where the
    program logs: where it has imported ``logging`` and given the logger, or the root, a handler. ``spans``
    make traces of the same, where they are wanted.
    """

    def __init__(self, on_event: OnEvent | None, spans: AskSpans | None = None) -> None:
        self._on_event = on_event
        self._spans = spans

    @property
    def is_listening(self) -> bool:
        return self._on_event is not None or self._spans is not None or _find_logger() is not None

    @property
    def is_tracing(self) -> bool:
        return self._spans is not None

    def begin_ask(self, begun: AskBegun) -> None:
        if self._spans is not None:
            self._spans.begin_ask(begun)

    def begin_call(self, ask_id: str, target: str) -> Mapping[str, str]:
        return {} if self._spans is None else self._spans.begin_call(ask_id, target)

    def end_ask(self, ask_id: str, receipt: Receipt | None) -> None:
        if self._spans is not None:
            self._spans.end_ask(ask_id, receipt)

    def close(self) -> None:
        if self._spans is not None:
            self._spans.close()

    def tell(self, event: WatchEvent) -> None:
        if self._spans is not None:
            self._spans.tell(event)
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
    logger = _logger_of(module)
    return logger if logger.hasHandlers() else None


@cache
def _logger_of(module: Any) -> logging.Logger:  # noqa: ANN401
    """It is always the same, and getting it takes a lock."""
    logger: logging.Logger = module.getLogger(LOGGER_NAME)
    return logger


def _log(logger: logging.Logger, event: WatchEvent) -> None:
    import logging

    from llmfail.core.reports.watch_event import describe_event, severity_of

    level = logging.getLevelNamesMapping()[severity_of(event).upper()]
    if logger.isEnabledFor(level):
        logger.log(level, "%s", describe_event(event), extra={"event": event})
