"""A store's two verbs over a dictionary, on a clock that the test moves; one call through a gate."""

from dataclasses import dataclass, field

from llmfail.core.admission import gate as gates
from llmfail.core.admission.gate import Admitted, Settlement
from llmfail.core.admission.reservation import Claim
from llmfail.core.classification.outcome import Outcome
from llmfail.core.model import Request
from llmfail.core.request.ask import question
from llmfail.core.tokens import token_bounds

SIZE = token_bounds.size_of(Request(question("Say hello")))


def claim(call="l", **fields):
    return Claim(**{"call": call, "lasts": 60.0, "feature": "f", "size": SIZE, "output": 1000} | fields)


@dataclass
class Book:
    values: dict = field(default_factory=dict)
    now: float = 1_000_000.0

    def admit(self, gate, call="l", **fields):
        asked = claim(call, **fields)
        writes, answer = gates.admit(gate, asked, self.read(gate.keys_with(asked)), self.now)
        self.write(writes)
        return answer

    def settle(self, gate, admitted, outcome, **facts):
        settlement = Settlement(outcome, **{"latency_ms": 100, "cost": 5, "fallback": False} | facts)
        return self.make(gates.settle(gate, admitted, settlement))

    def call(self, gate, kind, **facts):
        admitted = self.admit(gate)
        assert isinstance(admitted, Admitted), admitted
        return self.settle(gate, admitted, Outcome(kind, note=kind, **facts))

    def look(self, gate):
        return gates.look(gate, self.read(gate.keys), self.now)

    def make(self, step):
        writes = step.change(self.read(step.keys), self.now)
        self.write(writes)
        return writes

    def read(self, keys):
        return {key: self.values.get(key) for key in keys}

    def write(self, writes):
        for key, write in writes.items():
            self.values[key] = write.text if write else None
