"""What keeps vectors of two models apart: a chain of one model, and a length that does not change.

Vectors of two models lie in two spaces: to compare them gives numbers that mean nothing, and no error. So a
target with a model of another name is not asked, and a fallback whose vectors have another length than those
of the primary is passed over: it calls something else by the same name. A feature that says
``allow_other_models`` is spared both.

The length is kept per configuration, feature and model, for ever, because vectors are. It is the primary's
to say: what it gives is never refused, so a primary that has changed is a warning and not a dead end. Whoever
answers before the primary ever did speaks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.errors import UnsupportedRequest, UsageError
from llmfail.core.model import Embedding, Endpoint, Target
from llmfail.core.receipt import Receipt, SkipReason, TrailEntry
from llmfail.core.records import state_keys
from llmfail.core.records.record import (
    Record,
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    load,
    without_newer,
)
from llmfail.core.request.ask import Ask
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.planning.codec import Codec
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.providers import load_wire_format
from llmfail.settings.schema.types import Feature

OTHER_MODEL_NOTE = (
    "another model; vectors of two models do not mix, unless the feature says allow_other_models"
)


class Dimensions(Record, frozen=True):
    """How many numbers a vector of a feature's model has."""

    dimensions: int


class EmbeddingSpace(Struct, frozen=True):
    """Where the vectors of a feature's model lie, as far as it is known. ``key`` is where its Length is kept;
    ``dimensions`` is None before the first answer.
    """

    key: str
    primary: Endpoint
    dimensions: int | None

    def violation(self, answer: Embedding, endpoint: Endpoint) -> str | None:
        """What is wrong with the vectors of a fallback."""
        if self.dimensions in {None, answer.dimensions} or self._is_primary(endpoint):
            return None
        return f"{answer.dimensions} dimensions where the primary's vectors have {self.dimensions}"

    def record_dimensions(self, dimensions: int) -> StoreChange:
        """Keep what an answer had. Two that are the first at the same time: one is."""
        return StoreChange(
            (self.key,), partial(_keep_dimensions, self.key, Dimensions(dimensions), self.dimensions)
        )

    def _is_primary(self, endpoint: Endpoint) -> bool:
        """The same place; its key may be a token, and it may have lost parameters."""
        return (
            replace(endpoint, key=self.primary.key, dropped_parameters=self.primary.dropped_parameters)
            == self.primary
        )


def space_key(configuration: str, feature: str, primary: Target) -> str:
    return state_keys.dimensions_key(configuration, feature, _model_name(primary))


def space_of(key: str, primary: Endpoint, values: Values) -> EmbeddingSpace:
    known = load(values[key], Dimensions)
    return EmbeddingSpace(key, primary, None if known is None else known.dimensions)


def split_by_model(
    feature: Feature, ask: Ask, candidates: Sequence[Candidate]
) -> tuple[tuple[Candidate, ...], tuple[Target, ...]]:
    """The candidates that may answer, and the targets that may not. Raises UsageError where nobody has said
    which model it is to be.
    """
    if feature.allow_other_models or not candidates:
        return tuple(candidates), ()
    first = ask.targets[0] if ask.targets else feature.primary
    name = _require_one_model(feature, candidates) if first is None else _model_name(first)
    mates = tuple(one for one in candidates if _model_name(one.target) == name)
    return mates, tuple(one.target for one in candidates if _model_name(one.target) != name)


def require_embeddings(feature: str, codec: Codec, routes: TargetRoutes, targets: Sequence[Target]) -> None:
    """Raises UsageError where not one of these could be asked at all."""
    endpoints = [routes[target].endpoint for target in targets]
    objections = [_unsuited_reason(codec, endpoint) for endpoint in endpoints]
    if None not in objections:
        raise UsageError(f"feature {feature} cannot embed: {objections[0]}, or name a target with -m")


def warn_of_new_dimensions(receipt: Receipt, dimensions: int, before: int | None) -> Receipt:
    """``before`` is None where nobody knew."""
    if before is None:
        return receipt
    told = f"vectors of {receipt.target} had {before} dimensions and now have {dimensions}: they do not mix"
    return replace(receipt, warnings=(*receipt.warnings, told))


def add_skipped(receipt: Receipt, others: Sequence[Target]) -> Receipt:
    """A failure that also says who was not asked."""
    if receipt.error is None or not others:
        return receipt
    skipped = [TrailEntry(one, "skipped", SkipReason.OTHER_MODEL, note=OTHER_MODEL_NOTE) for one in others]
    story = f"not asked: {', '.join(map(str, others))} ({OTHER_MODEL_NOTE})"
    error = replace(receipt.error, message=f"{receipt.error.message}; {story}")
    return replace(receipt, error=error, trail=(*receipt.trail, *skipped))


def _model_name(target: Target) -> str:
    """A model may have a vendor's prefix at one provider only."""
    return target.model.rpartition("/")[2].casefold()


def _require_one_model(feature: Feature, candidates: Sequence[Candidate]) -> str:
    """Prices and keys decide about the order of a feature without a primary; a model must not change so."""
    names = {_model_name(one.target) for one in candidates}
    if len(names) > 1:
        shown = ", ".join(str(one.target) for one in candidates)
        raise UsageError(
            f"feature {feature.name} has no primary, and vectors of different models do not mix: give it one "
            f"of {shown}, or name one with -m"
        )
    return names.pop()


def _unsuited_reason(codec: Codec, endpoint: Endpoint) -> str | None:
    try:
        codec.encode(load_wire_format(endpoint.api, endpoint.door), endpoint)
    except UnsupportedRequest as error:
        return str(error)
    return None


def _keep_dimensions(
    key: str, dimensions: Dimensions, before: int | None, values: Values, _now: float
) -> Writes:
    known = load(values[key], Dimensions)
    if (known and known.dimensions) != before:
        return {}
    return without_newer({key: Write(dump(dimensions))}, values)
