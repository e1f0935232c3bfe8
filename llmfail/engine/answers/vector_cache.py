"""Stored vectors as asks for embeddings use them: each text is found on its own, whatever array it came in.

There is no single flight: whoever embeds the same text elsewhere at the same moment makes a call too.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.cache.cache_key import digest_of_text, fingerprint
from llmfail.core.cache.single_flight import CachePolicy, answer_key
from llmfail.core.cache.vector_record import StoredVector, load_vector_if_fresh, pack_vector, store_vector
from llmfail.core.model import Embedding, Endpoint, Request, Target
from llmfail.core.records.record import Values, Write, Writes
from llmfail.engine.planning.codec import Codec
from llmfail.engine.ports.protocols import AsyncStore, Ports


class VectorCache(Struct, frozen=True):
    """Of some texts. ``dimensions`` are those that a stored vector must have; None: any will do. Vectors for
    which ``asked_dimensions`` were named are apart from all others.
    """

    store: AsyncStore
    policy: CachePolicy
    texts: tuple[str, ...]
    dimensions: int | None = None
    asked_dimensions: int | None = None

    async def find_each(self, endpoint: Endpoint) -> Sequence[StoredVector | None]:
        """For each text what this target gave before, as long as it will do."""
        if not self.policy.can_read:
            return [None] * len(self.texts)
        prints = self._fingerprints(endpoint)
        values, now = await self.store.read(list(dict.fromkeys(map(answer_key, prints))))
        found = (load_vector_if_fresh(values[answer_key(one)], self.policy.ttl, now) for one in prints)
        return [one if one is not None and self._fits(one) else None for one in found]

    async def find_all(self, endpoint: Endpoint) -> Embedding | None:
        """The vectors of all the texts, which are of one length; None where one is missing."""
        found = [one for one in await self.find_each(endpoint) if one is not None]
        if len(found) < len(self.texts) or len({len(one.numbers) for one in found}) != 1:
            return None
        return Embedding(tuple(one.vector for one in found), model=found[0].model)

    async def store_all(self, endpoint: Endpoint, target: Target, embedding: Embedding) -> None:
        """Store the vector of each text."""
        prints = self._fingerprints(endpoint)

        def change(values: Values, now: float) -> tuple[Writes, None]:
            writes: dict[str, Write | None] = {}
            for one, vector in zip(prints, embedding.vectors, strict=True):
                stored = pack_vector(vector, target, now, embedding.model)
                writes.update(store_vector(one, stored, self.policy.lifetime, values))
            return writes, None

        await self.store.update(list(dict.fromkeys(map(answer_key, prints))), change)

    def _fits(self, stored: StoredVector) -> bool:
        return self.dimensions in {None, len(stored.vector)}

    def _fingerprints(self, endpoint: Endpoint) -> list[str]:
        return [fingerprint(digest_of_text(text, self.asked_dimensions), endpoint) for text in self.texts]


def vector_cache_of(
    ports: Ports, policy: CachePolicy | None, request: Request, codec: Codec
) -> VectorCache | None:
    """For the text of each message; None where no vectors are stored."""
    if ports.answers is None or policy is None:
        return None
    texts = tuple(message.text for message in request.messages)
    return VectorCache(ports.answers, policy, texts, codec.dimensions, codec.asked_dimensions)
