"""A store's two verbs over a dictionary, on a clock that the test moves; one call through a gate."""

from dataclasses import dataclass, field

from llmfail.core.admission import gate as gates
from llmfail.core.admission import gate_settlement
from llmfail.core.admission.gate import Admission, Settlement
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import Outcome
from llmfail.core.model import Request
from llmfail.core.request.ask import to_messages
from llmfail.core.tokens import token_bounds

SIZE = token_bounds.size_of(Request(to_messages("Say hello")))


def build_reservation_request(call_id="l", **fields):
    return ReservationRequest(
        **{"call_id": call_id, "lease_seconds": 60.0, "feature": "f", "size": SIZE, "output_tokens": 1000}
        | fields
    )


@dataclass
class GateStore:
    values: dict = field(default_factory=dict)
    now: float = 1_000_000.0

    def admit(self, gate, call_id="l", **fields):
        asked = build_reservation_request(call_id, **fields)
        writes, answer = gates.admit(gate, asked, self.read(gate.keys_with_budgets(asked)), self.now)
        self.write(writes)
        return answer

    def settle(self, gate, admitted, outcome, **facts):
        settlement = Settlement(outcome, **{"latency_ms": 100, "cost": 5, "fallback": False} | facts)
        return self.apply(gate_settlement.settle(gate, admitted, settlement))

    def call(self, gate, kind, **facts):
        admitted = self.admit(gate)
        assert isinstance(admitted, Admission), admitted
        return self.settle(gate, admitted, Outcome(kind, note=kind, **facts))

    def view(self, gate):
        return gates.view(gate, self.read(gate.keys), self.now)

    def apply(self, step):
        writes = step.change(self.read(step.keys), self.now)
        self.write(writes)
        return writes

    def read(self, keys):
        return {key: self.values.get(key) for key in keys}

    def write(self, writes):
        for key, write in writes.items():
            self.values[key] = write.text if write else None
