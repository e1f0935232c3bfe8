"""A frozen, slotted, keyword-only dataclass that is cheap to define.

``dataclass`` writes and compiles every method of every class; the two dozen classes of a configuration cost
more that way than reading the configuration. So these share their methods, and are dataclasses in all else.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field
from typing import Any, ClassVar, TypeVar, dataclass_transform

T = TypeVar("T")


class _Shared:
    """The methods that ``record`` hands out."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init__(self, **values: object) -> None:
        for name, declared in self.__dataclass_fields__.items():
            object.__setattr__(self, name, values.pop(name) if name in values else _default(declared))
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(_values(self))

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    for name in ("__init__", "__eq__", "__hash__", "__repr__"):
        setattr(cls, name, vars(_Shared)[name])
    return dataclass(init=False, eq=False, repr=False, frozen=True, slots=True, kw_only=True)(cls)


def _values(instance: Any) -> tuple[object, ...]:  # noqa: ANN401 - any record
    return tuple(getattr(instance, name) for name in instance.__dataclass_fields__)


def _default(declared: Field[Any]) -> object:
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    if declared.default is MISSING:
        raise TypeError(f"{declared.name} is missing")
    return declared.default
