"""Providers on loopback that speak the real wire formats and break on demand.

``ask --drill``, ``drill``, the tests and the benchmarks talk to it through real sockets. It is no model: its
answers say who answers. It listens on 127.0.0.1 only, needs no keys and checks none.
"""

from llmfail.simulator.faults import Fault, FaultKind, Faults, check_names, parse_faults
from llmfail.simulator.recorded_request import RecordedRequest
from llmfail.simulator.server import Simulator

__all__ = ["Fault", "FaultKind", "Faults", "RecordedRequest", "Simulator", "check_names", "parse_faults"]
