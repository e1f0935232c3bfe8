"""Updates that are made together: one transaction, and each as if it were alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.store.disk import DiskStore
from llmfail.store.group_commit import FailedUpdate, StoreUpdate, update_together
from llmfail.store.memory import MemoryStore

NOW = 1000.0


@pytest.fixture
def disk(tmp_path):
    made = DiskStore(tmp_path / "state", 5, lambda: NOW)
    yield made
    made.close()


def append(letter, *keys, result=None):
    """A change that writes a letter behind each key's text."""

    def change(values, _now):
        return {key: Write((values[key] or "") + letter) for key in keys}, result

    return StoreUpdate(keys, change)


def writing(**writes):
    return StoreUpdate([], lambda _values, _now: (writes, None))


def raising(error):
    def change(_values, _now):
        raise error

    return StoreUpdate(["a"], change)


def test_each_sees_what_those_before_it_have_written(disk):
    assert update_together(disk, [append("1", "a"), append("2", "a", "b"), append("3", "b")]) == [None] * 3
    assert disk.read(["a", "b"])[0] == {"a": "12", "b": "23"}


def test_each_has_its_own_result(disk):
    assert update_together(disk, [append("1", "a", result=1), append("2", "b", result=2)]) == [1, 2]


def test_each_sees_its_own_keys_and_the_clock_and_nothing_else(disk):
    seen = StoreUpdate(["b"], lambda values, now: ({}, (dict(values), now)))
    assert update_together(disk, [append("1", "a"), seen])[1] == ({"b": None}, NOW)


def test_what_one_has_deleted_is_gone_for_the_next(disk):
    update_together(disk, [append("1", "a"), writing(a=None), append("2", "a")])
    assert disk.read(["a"])[0] == {"a": "2"}


@pytest.mark.parametrize(("expires_at", "seen"), [(NOW, "2"), (NOW + 1, "12"), (None, "12")])
def test_what_has_expired_already_is_gone_for_the_next(disk, expires_at, seen):
    update_together(disk, [writing(a=Write("1", expires_at)), append("2", "a")])
    assert disk.read(["a"])[0] == {"a": seen}


def test_one_that_raises_writes_nothing_and_stops_nobody(disk):
    error = KeyError("no such thing")
    assert update_together(disk, [append("1", "a"), raising(error), append("2", "a")]) == [
        None,
        FailedUpdate(error),
        None,
    ]
    assert disk.read(["a"])[0] == {"a": "12"}


def test_one_whose_text_nothing_can_store_stops_nobody(disk):
    results = update_together(disk, [append("1", "a"), append("\ud800", "a"), append("2", "b")])
    assert [type(one.error) if one else None for one in results] == [None, UnicodeEncodeError, None]
    assert disk.read(["a", "b"])[0] == {"a": "1", "b": "2"}


def test_who_waits_for_nobody_does_not_try_one_by_one(disk):
    update_together(disk, [append("1", "a")])
    with pytest.raises(StoreError, match="a try of its own"):
        update_together(disk, [append("2", "a"), append("\ud800", "b")], waits=False)
    assert disk.read(["a"])[0] == {"a": "1"}


def test_nobody_else_sees_a_part_of_them(disk, tmp_path):
    other = DiskStore(tmp_path / "state", 5)
    look = StoreUpdate([], lambda _values, _now: ({}, other.read(["a"])[0]))
    assert update_together(disk, [append("1", "a"), look, append("2", "a")])[1] == {"a": None}
    assert other.read(["a"])[0] == {"a": "12"}
    other.close()


def test_a_store_that_cannot_work_fails_them_all(tmp_path):
    (tmp_path / "file").touch()
    results = update_together(DiskStore(tmp_path / "file", 5), [append("1", "a"), append("2", "a")])
    assert [type(one.error) for one in results] == [StoreError] * 2


KEYS = st.sampled_from("abc")
CHANGES = st.one_of(
    st.builds(lambda letter, keys: append(letter, *keys), st.sampled_from("123"), st.lists(KEYS, max_size=3)),
    st.builds(
        lambda key, text, end: writing(**{key: text and Write(text, end)}),
        KEYS,
        st.sampled_from(["x", None]),
        st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
    ),
    st.just(raising(ValueError())),
)


@given(st.lists(CHANGES, max_size=8))
def test_together_they_come_to_the_same_as_one_by_one(changes):
    together, alone = MemoryStore(lambda: NOW), MemoryStore(lambda: NOW)
    assert update_together(together, changes) == [
        result for one in changes for result in update_together(alone, [one])
    ]
    assert together.read("abc") == alone.read("abc")
