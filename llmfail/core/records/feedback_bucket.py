"""What users said of answers, under the ids of their receipts. Ids are spread over so many buckets, each of
which keeps so many of the last, so that one is found without a search and all of them have a bound.
"""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from llmfail.core.records.record import Record

BUCKETS = 4096
MAX_BUCKET_ENTRIES = 16
"""In all, the last 65,536 asks, or a few less where buckets are full by chance."""
FEEDBACK_LIFETIME = 90 * 86400.0
"""Seconds that a bucket is kept after the last ask in it."""


class FeedbackEntry(Struct, frozen=True, omit_defaults=True):
    """One ask: the arm of a configuration's experiment, where it had one, and what was said of its answer,
    from 0 to 1.
    """

    id: str
    configuration: str = ""
    experiment: str | None = None
    arm: str | None = None
    score: float | None = None


class FeedbackBucket(Record, frozen=True):
    """The oldest entry comes first."""

    entries: tuple[FeedbackEntry, ...] = ()

    def find(self, id_: str) -> FeedbackEntry | None:
        return next((entry for entry in self.entries if entry.id == id_), None)

    def put(self, entry: FeedbackEntry) -> FeedbackBucket:
        """In the place of an earlier one of the same id."""
        if self.find(entry.id) is not None:
            return FeedbackBucket(tuple(entry if one.id == entry.id else one for one in self.entries))
        return FeedbackBucket((*self.entries, entry)[-MAX_BUCKET_ENTRIES:])


def bucket_of(id_: str) -> int:
    return crc32(id_.encode("utf-8", "surrogatepass")) % BUCKETS
