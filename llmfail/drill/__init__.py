"""The drill: your own configuration against a simulator on loopback, with faults you choose.

``open_simulated_client`` makes single asks against the simulator; ``drill.scenarios`` plays whole outages for
each feature. Neither needs keys, spends money, or leaves anything behind.
"""

from llmfail.drill.simulated_client import SimulatedClient, open_simulated_client

__all__ = ["SimulatedClient", "open_simulated_client"]
