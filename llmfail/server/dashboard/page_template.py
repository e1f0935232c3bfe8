"""The templates, and how they are filled in. The only place that imports Jinja2. Whatever stands in a value
is text: everything is escaped.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = Path(__file__).parent / "assets"


def render_template(name: str, **shown: object) -> str:
    return _open_environment().get_template(name).render(shown)


@cache
def _open_environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {
        "clock": format_clock,
        "day": format_day,
        "minute": format_minute,
        "seconds": format_seconds,
        "asset": asset_url,
    }
    return found


def format_clock(moment: str) -> str:
    """A moment of ISO 8601 as the clock of this machine, with the date on other days."""
    local = datetime.fromisoformat(moment).astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M}"


def format_day(day: str) -> str:
    """``Mon 30 Nov``."""
    return f"{datetime.fromisoformat(day):%a %d %b}"


def format_minute(at: int) -> str:
    """``08:05``, of this machine."""
    return f"{datetime.fromtimestamp(at).astimezone():%H:%M}"


def format_seconds(latency_ms: int | None) -> str:
    """Seconds with two decimals; empty where there are none."""
    return "" if latency_ms is None else f"{latency_ms / 1000:.2f}"


@cache
def asset_url(name: str) -> str:
    """A file of ``assets``, under a URL that changes with it."""
    digest = sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
    return f"/dashboard/{name}?v={digest}"
