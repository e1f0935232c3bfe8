"""A record is a frozen dataclass in all that its users may notice."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace

import pytest

from llmfail.settings.types import Fallback, Limits, Price


def test_it_is_a_dataclass_with_slots():
    limits = Limits(burst=3)
    assert is_dataclass(limits)
    assert [each.name for each in fields(Limits)] == ["requests_per_minute", "tokens_per_minute", "burst"]
    assert asdict(limits) == {"requests_per_minute": None, "tokens_per_minute": None, "burst": 3}
    assert not hasattr(limits, "__dict__")


def test_it_cannot_be_changed_but_replaced():
    limits = Limits(burst=3)
    with pytest.raises(FrozenInstanceError):
        limits.burst = 4
    with pytest.raises(FrozenInstanceError):
        del limits.burst
    assert replace(limits, burst=4) == Limits(burst=4)
    assert limits.burst == 3


def test_it_is_equal_by_its_values_and_only_to_its_own_kind():
    assert Limits(burst=3) == Limits(burst=3) != Limits(burst=4)
    assert hash(Limits(burst=3)) == hash(Limits(burst=3))
    assert Limits() != Price(input=1, output=1)


def test_it_shows_its_values():
    assert repr(Limits(burst=3)) == "Limits(requests_per_minute=None, tokens_per_minute=None, burst=3)"


def test_it_takes_no_unknown_value_and_misses_no_required_one():
    with pytest.raises(TypeError, match="Limits has no burts"):
        Limits(burts=3)
    with pytest.raises(TypeError, match="target is missing"):
        Fallback()
    with pytest.raises(TypeError):
        Limits(3)


def test_it_can_be_copied_and_pickled():
    limits = Limits(burst=3)
    assert copy.deepcopy(limits) == copy.copy(limits) == pickle.loads(pickle.dumps(limits)) == limits
