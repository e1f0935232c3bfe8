"""A frozen, slotted, keyword-only dataclass that is cheap to define.

``dataclass`` writes and compiles every method of every class: 0.56 ms for eight fields, against 0.09 ms
here, and a configuration has two dozen. So these share their methods, and are dataclasses in all else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


class _Shared:
    """The methods that ``record`` hands out."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init__(self, **values: object) -> None:
        for name, declared in self.__dataclass_fields__.items():
            object.__setattr__(self, name, values.pop(name) if name in values else _default(declared))
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(tuple(_values(self).values()))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in _values(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[object, ...]:
        """For copy and pickle, which would assign otherwise."""
        return _remade, (type(self), _values(self))


METHODS = ("init", "setattr", "delattr", "eq", "hash", "repr", "reduce")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    for name in METHODS:
        setattr(cls, f"__{name}__", vars(_Shared)[f"__{name}__"])
    return dataclass(init=False, eq=False, repr=False, slots=True, kw_only=True)(cls)


def _values(instance: Any) -> dict[str, object]:  # noqa: ANN401 - any record
    return {name: getattr(instance, name) for name in instance.__dataclass_fields__}


def _remade(cls: type[T], values: Mapping[str, object]) -> T:
    return cls(**values)


def _default(declared: Field[Any]) -> object:
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    if declared.default is MISSING:
        raise TypeError(f"{declared.name} is missing")
    return declared.default
