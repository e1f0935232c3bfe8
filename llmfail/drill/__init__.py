"""The fire drill: your own configuration against a simulator on loopback, with faults you choose.

``open_simulated_client`` is the stage for one ask; ``storyboard`` plays a whole outage per feature. Neither
needs keys, spends money, or leaves anything behind.
"""

from llmfail.drill.simulated_client import SimulatedClient, open_simulated_client

__all__ = ["SimulatedClient", "open_simulated_client"]
