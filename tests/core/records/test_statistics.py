"""Statistics: many asks counted in one change are the same as one after another."""

from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.records import receipt_log
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.counters import CallCounters, count_calls
from llmfail.core.records.record import dump, load, load_or_default
from llmfail.core.records.statistics import Count, CountedRecord, Statistics, steps_of, write_counts
from llmfail.store.memory import MemoryStore

KEYS = ["a", "b", "unlisted"]
calls = st.builds(
    lambda keys, ok, latency, cost, error: Count(
        CountedCall(ok=ok, fallback=False, latency_ms=latency, cost=cost, error=error),
        tuple(
            CountedRecord(
                key, CallCounters, count_calls, list_key="names" if key != "unlisted" else None, name=key
            )
            for key in keys
        ),
    ),
    st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
    st.booleans(),
    st.integers(0, 10_000),
    st.none() | st.integers(0, 10**12),
    st.none() | st.sampled_from(["timeout: late", "network"]),
)


def make(memory, step):
    memory.update(step.keys, lambda values, now: (step.change(values, now), None))


def contents(memory):
    keys = [
        "a",
        "b",
        "unlisted",
        "names",
        "names#0",
        "names#1",
        "names#2",
        "log",
        *(f"log/{n}" for n in range(9)),
    ]
    return memory.read(keys)[0]


@given(st.lists(calls, max_size=12), st.lists(st.integers(), max_size=8))
def test_counted_together_they_are_the_same_as_one_after_another(counts, entries):
    each = [Statistics((one,)) for one in counts]
    each += [Statistics(entries=(dump({"id": number}),)) for number in entries]
    together, apart = MemoryStore(lambda: 0.0), MemoryStore(lambda: 0.0)
    for step in steps_of(each):
        make(together, step)
    for one in each:
        for step in steps_of([one]):
            make(apart, step)
    assert contents(together) == contents(apart)


def test_a_record_of_a_newer_version_is_left_alone_and_the_others_are_counted():
    memory = MemoryStore(lambda: 0.0)
    newer = '{"v":2,"calls":"many"}'
    memory.update((), lambda _values, _now: ({"a": receipt_log.Write(newer)}, None))
    call = CountedCall(ok=True, fallback=False, latency_ms=5, cost=1)
    records = [CountedRecord(key, CallCounters, count_calls) for key in ("a", "b", "a")]
    make(memory, write_counts([Count(call, (record,)) for record in records]))
    assert contents(memory)["a"] == newer
    assert load(contents(memory)["b"], CallCounters).calls == 1


def test_the_log_is_a_ring():
    memory = MemoryStore(lambda: 0.0)
    entries = [dump({"id": number}) for number in range(receipt_log.LOG_LENGTH + 3)]
    make(memory, receipt_log.append(entries[:5]))
    make(memory, receipt_log.append(entries[5:]))
    values, _ = memory.read([receipt_log.LOG_KEY])
    keys = receipt_log.slot_keys(values, receipt_log.LOG_LENGTH + 10)
    kept, _ = memory.read(keys)
    assert [kept[key] for key in keys] == entries[: -receipt_log.LOG_LENGTH - 1 : -1]
    assert load_or_default(values[receipt_log.LOG_KEY], receipt_log.NextIndex).next == len(entries)
