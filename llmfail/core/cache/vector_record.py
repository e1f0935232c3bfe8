"""Stored vectors: one for each text that a target has embedded, whatever texts went in the same call."""

from __future__ import annotations

import struct

from llmfail.core.cache.single_flight import answer_key
from llmfail.core.model import Embedding, Target
from llmfail.core.records.record import Record, Values, Write, Writes, dump, load, without_newer

BYTES_OF_A_NUMBER = 8


class StoredVector(Record, frozen=True):
    """What ``target`` gave at ``at`` (epoch seconds). ``numbers`` are little-endian doubles, so that they
    come back exactly and take less space than digits would.
    """

    numbers: bytes
    target: str
    at: float
    model: str | None = None

    @property
    def vector(self) -> tuple[float, ...]:
        return struct.unpack(f"<{len(self.numbers) // BYTES_OF_A_NUMBER}d", self.numbers)

    @property
    def embedding(self) -> Embedding:
        return Embedding((self.vector,), model=self.model)


def pack_vector(vector: tuple[float, ...], target: Target, at: float, model: str | None) -> StoredVector:
    return StoredVector(struct.pack(f"<{len(vector)}d", *vector), str(target), at, model)


def load_vector_if_fresh(text: str | None, max_age: float, now: float) -> StoredVector | None:
    """The stored vector, unless it is too old, or damaged. One from the future is too old as well."""
    stored = load(text, StoredVector)
    if stored is None or not 0 <= now - stored.at <= max_age:
        return None
    is_whole = stored.numbers and len(stored.numbers) % BYTES_OF_A_NUMBER == 0
    return stored if is_whole else None


def store_vector(fingerprint: str, vector: StoredVector, lifetime: float, values: Values) -> Writes:
    """Store a vector for so many seconds."""
    key = answer_key(fingerprint)
    return without_newer({key: Write(dump(vector), vector.at + lifetime)}, values)
