"""Which arm of an experiment an ask belongs to: a pure function, so that every process chooses alike and
nobody has to remember it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

from msgspec import Struct

from llmfail.core.hash_fraction import STEPS, hash_fraction
from llmfail.core.model import Target


class ArmChoice(Struct, frozen=True):
    """The arm of an ask: the target that is asked first. ``is_sticky``: further asks of its user or session
    have the same.
    """

    experiment: str
    target: Target
    is_sticky: bool = True


def choose_arm(experiment: str, weights: Mapping[Target, float], unit: str) -> Target:
    """The arm of a unit (a user, a session or an ask), in proportion to the weights.

    Rendezvous hashing with weights: each arm draws a time from the exponential distribution of its weight,
    and the first one has the unit. Where weights change, only units come to an arm that has grown, or leave
    one that has shrunk.
    """
    eligible = [target for target, weight in weights.items() if weight > 0]
    return min(eligible, key=lambda target: _draw_time(experiment, target, unit) / weights[target])


def _draw_time(experiment: str, target: Target, unit: str) -> float:
    fraction = hash_fraction("\0".join((experiment, str(target), unit)))
    return -log(fraction + 0.5 / STEPS)
