"""The arm of an ask, where its feature has an experiment that runs."""

from __future__ import annotations

from collections.abc import Sequence

from llmfail.core.arm_choice import ArmChoice, choose_arm
from llmfail.core.request.ask import Ask
from llmfail.core.routing.candidates import Candidate
from llmfail.settings.schema.settings import Settings


def assign_arm(settings: Settings, feature: str, ask: Ask, ask_id: str, moment: float) -> ArmChoice | None:
    """None for an ask that names its targets, and without an experiment."""
    experiment = None if ask.targets else settings.find_experiment(feature, moment)
    if experiment is None:
        return None
    units = {"user": ask.user, "session": ask.session, "none": None}
    named = units[experiment.sticky]
    target = choose_arm(experiment.name, experiment.weights, named or ask_id)
    return ArmChoice(experiment.name, target, is_sticky=bool(named))


def put_arm_first(candidates: Sequence[Candidate], arm: ArmChoice) -> tuple[Candidate, ...]:
    """The other candidates keep their order."""
    return tuple(sorted(candidates, key=lambda candidate: candidate.target != arm.target))
