"""What a forecast starts from: outages of a file or of the log, and the latencies that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmfail.core.errors import UsageError
from llmfail.core.records.counters import percentile
from llmfail.settings.schema.quantity import parse_seconds

if TYPE_CHECKING:
    from llmfail.client.blocking import Client
    from llmfail.core.model import Target
    from llmfail.forecast.outages import OutagePlan
    from llmfail.forecast.simulated_providers import Latency

MIN_CALLS = 20
"""So many answers of the last 24 hours make a target's latency known."""
ALL_ENTRIES = 1_000_000
MAX_ASKS = 10_000_000
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_rate(text: str) -> float:
    """``1000/h`` -> asks a second. Raises UsageError."""
    number, _, unit = text.replace(" ", "").partition("/")
    try:
        rate = float(number) / SECONDS_PER_UNIT[unit]
    except (KeyError, ValueError):
        rate = 0.0
    if not 0 < rate <= 1000:
        raise UsageError(f"--rate is a number of asks a time, such as 1000/h, 5/s or 200/d, got {text!r}")
    return rate


def parse_days(text: str) -> float:
    """``30`` or ``12h`` -> seconds. Raises UsageError."""
    try:
        return parse_seconds(f"{text}d" if text.replace(".", "", 1).isdigit() else text)
    except ValueError:
        raise UsageError(f"--days is a number of days, or a duration such as 12h, got {text!r}") from None


def require_bounded(seconds: float, rate: float) -> None:
    """Raises UsageError for more asks than anybody would wait for."""
    asks = round(seconds * rate)
    if asks > MAX_ASKS:
        raise UsageError(
            f"{asks:,} asks would take too long, {MAX_ASKS:,} are the most: fewer --days or a lower --rate "
            "say the same, with a wider interval"
        )


def read_outages(path: str | None, client: Client) -> OutagePlan:
    """Raises UsageError for a file that cannot be read, and where neither file nor log has an outage."""
    from llmfail.forecast.outages import OutagePlan, estimate_rates

    if path is not None:
        return _read_file(path)
    plan = estimate_rates(list(reversed(client.log(ALL_ENTRIES))))
    if plan == OutagePlan():
        raise UsageError(
            "the log has no outage to play; give a file: --outages FILE with, for example, "
            "outages: [{target: openai, availability: 0.99, mttr: 20m}]"
        )
    return plan


def read_latencies(client: Client) -> Mapping[Target, Latency]:
    """Of the targets that gave enough answers."""
    from llmfail.forecast.simulated_providers import Latency

    latencies = {}
    for one in client.status().targets:
        p50, p95 = (percentile(one.counters.latencies, share) for share in (0.5, 0.95))
        if one.counters.ok >= MIN_CALLS and p50 and p95:
            latencies[one.target] = Latency(p50 / 1000, p95 / 1000)
    return latencies


def _read_file(path: str) -> OutagePlan:
    from llmfail.forecast.outage_file import parse_outages
    from llmfail.settings.reading.yaml_tree import UnreadableYaml, parse

    try:
        document = parse(Path(path).read_text(encoding="utf-8"))
        if document.problems:
            place, problem = document.problems[0]
            raise UnreadableYaml(problem, document.lines.get(place))  # noqa: TRY301 - said as the others are
        return parse_outages(document.tree, document.lines)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8") from None
    except UnreadableYaml as error:
        line = "" if error.line is None else f"line {error.line}: "
        raise UsageError(f"{path}: {line}{error}") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
