"""What a forecast starts from: outages of a file or of the log, and the latencies that were seen."""

from __future__ import annotations

from collections.abc import Mapping
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
    import yaml

    from llmfail.forecast.outages import parse_outages

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a path as it was typed
            document = yaml.safe_load(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return parse_outages(document)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
