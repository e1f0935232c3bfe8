"""Experiments: which share of a feature's asks begins with which target. The annotations are read as those
of ``types``.
"""

from typing import Annotated, Literal

from msgspec import Struct

from llmfail.core.model import Target
from llmfail.settings.schema.scalars import SHORTHAND, Moment, Name, TargetName, Weight, parse_moment


class ExperimentArm(Struct, frozen=True, kw_only=True):
    """A target that is asked first, by so much of the asks as its weight is of all weights."""

    target: TargetName
    weight: Weight = 1.0


class Experiment(Struct, frozen=True, kw_only=True):
    """Asks of a feature are divided between arms until a moment. ``sticky``: all asks of a user or of a
    session have one arm; an ask that names none is divided by itself.
    """

    name: Name
    feature: Name
    arms: tuple[Annotated[ExperimentArm, SHORTHAND], ...]
    sticky: Literal["user", "session", "none"] = "none"
    until: Moment | None = None

    @property
    def weights(self) -> dict[Target, float]:
        return {arm.target: arm.weight for arm in self.arms}

    def is_running(self, moment: float) -> bool:
        """At a moment, in epoch seconds."""
        return self.until is None or moment < parse_moment(self.until)
