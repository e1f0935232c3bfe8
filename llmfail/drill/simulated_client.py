"""A configuration as it is, except that every provider is the simulator and nothing outlives the process.

The copy holds made-up keys, so that no provider is skipped and no real key is ever sent or shown. It has no
budgets, no rate limits and no cache: a rehearsal spends nothing, and its answers are nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.client.receipts import ReceiptClient
from llmfail.core.model import Api, Secret
from llmfail.settings.schema.provider_types import CredentialSource, Provider, RateLimits
from llmfail.settings.schema.settings import Settings
from llmfail.simulator import Simulator, check_names, parse_faults

if TYPE_CHECKING:
    from llmfail.core.reports.watch_event import OnEvent

MADE_UP_KEY = Secret("made-up-for-the-drill")
MADE_UP_PROJECT = "drill"


class SimulatedClient(Struct, frozen=True):
    """A client whose every provider is the simulator."""

    client: ReceiptClient
    simulator: Simulator


@contextmanager
def open_simulated_client(
    settings: Settings, faults: str, on_event: OnEvent | None = None
) -> Iterator[SimulatedClient]:
    """A stage for one ask. Raises UsageError for faults that cannot be read or that name nobody."""
    played = parse_faults(faults)
    check_names(played, [*settings.providers, *map(str, settings.list_targets())])
    with (
        Simulator(played, apis=apis_of(settings)) as simulator,
        ReceiptClient(settings=point_to_simulator(settings, simulator), on_event=on_event) as client,
    ):
        yield SimulatedClient(client, simulator)


@contextmanager
def start_simulation(settings: Settings, faults: str) -> Iterator[Callable[[Settings], Settings]]:
    """While it runs, what points settings to the simulator. Raises UsageError as above."""
    played = parse_faults(faults)
    check_names(played, [*settings.providers, *map(str, settings.list_targets())])
    with Simulator(played, apis=apis_of(settings)) as simulator:
        yield lambda fresh: point_to_simulator(fresh, simulator)


def apis_of(settings: Settings) -> Mapping[str, Api]:
    """What each provider speaks."""
    return {name: provider.api for name, provider in settings.providers.items()}


def point_to_simulator(settings: Settings, simulator: Simulator) -> Settings:
    return settings.with_providers_alone(
        {
            name: _point_provider_to(provider, simulator.base_url(name))
            for name, provider in settings.providers.items()
        }
    )


def _point_provider_to(provider: Provider, base_url: str) -> Provider:
    return replace(
        provider,
        base_url=base_url,
        api_key=MADE_UP_KEY,
        token=None,
        credential=CredentialSource.KEY,
        project=provider.project or MADE_UP_PROJECT,
        limits=RateLimits(),
    )
