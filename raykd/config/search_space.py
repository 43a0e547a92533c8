"""Distributions of the searched hyperparameters."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.section import Section

Value = bool | int | float | str | None
"""A value of a hyperparameter."""
_INNER = 0.6180339887
"""A fraction of a range that is no round number: a field that takes integers refuses the value there."""
_MAX_STEPS = 10**15
"""Most steps of a range; with more of them a number of 64 bits no longer tells neighbours apart."""


class _NumberRange(Section):
    kind: str
    """Kind of distribution."""
    low: float
    """Smallest value."""
    high: float
    """Largest value."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} and high = {self.high:g}: low lies below high")
        if not math.isfinite(self.high - self.low):
            raise ValueError(
                f"low = {self.low:g} and high = {self.high:g} are too far apart for a computer's numbers; narrow them"
            )
        return self

    @property
    def count(self) -> float:
        """Number of distinct values."""
        return math.inf

    def contains(self, value: Any) -> bool:
        """Return True for a value that has a probability of its own; no single value of a continuous range has."""
        del value
        return False

    def clip(self, value: Any) -> Any:
        """Return the nearest value inside the bounds."""
        return min(max(value, self.low), self.high)

    def describe(self) -> str:
        """The distribution in a few words."""
        return f"{self.kind} {self.low:g} to {self.high:g}"


class Uniform(_NumberRange):
    """Any number between two bounds, all equally likely."""

    kind: Literal["uniform"] = "uniform"

    def check_values(self) -> tuple[Value, ...]:
        """Values that the base's configuration must allow: the bounds, and one between them."""
        return self.low, self.high, self.low + _INNER * (self.high - self.low)


class LogUniform(_NumberRange):
    """Any number between two bounds above 0, all orders of magnitude equally likely."""

    kind: Literal["loguniform"] = "loguniform"

    @model_validator(mode="after")
    def _check_sign(self) -> Self:
        if self.low <= 0:
            raise ValueError(f"low = {self.low:g}: a loguniform lies above 0; use uniform")
        return self

    def check_values(self) -> tuple[Value, ...]:
        """Values that the base's configuration must allow: the bounds, and one between them."""
        return self.low, self.high, math.exp((1 - _INNER) * math.log(self.low) + _INNER * math.log(self.high))


class QUniform(_NumberRange):
    """`low`, `low + step`, ... up to `high`, all equally likely; integers when all three are."""

    kind: Literal["quniform"] = "quniform"
    step: float = Field(gt=0)
    """Distance between neighbouring values; divides `high - low`."""

    @model_validator(mode="after")
    def _check_step(self) -> Self:
        steps = (self.high - self.low) / self.step
        if steps > _MAX_STEPS:
            raise ValueError(
                f"step = {self.step:g} is too small for {self.low:g} to {self.high:g}: it makes more than {_MAX_STEPS:,} "
                "steps; raise it, or use uniform"
            )
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"step = {self.step:g} does not divide {self.low:g} to {self.high:g}; "
                f"the nearest high that fits is {self.low + self.step * max(1, round(steps)):g}"
            )
        return self

    @property
    def whole(self) -> bool:
        """True when its values are integers."""
        return all(number == int(number) for number in (self.low, self.high, self.step))

    @property
    def count(self) -> float:
        """Number of distinct values."""
        return round((self.high - self.low) / self.step) + 1

    def contains(self, value: Any) -> bool:
        """Return True for one of its values."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return math.isclose((value - self.low) / self.step % 1, 0, abs_tol=1e-9)

    def check_values(self) -> tuple[Value, ...]:
        """Values that the base's configuration must allow: the bounds, and the value after the first."""
        numbers = (self.low, self.high, self.low + self.step)
        return tuple(map(int, numbers)) if self.whole else numbers

    def describe(self) -> str:
        """The distribution in a few words."""
        return f"{super().describe()} in steps of {self.step:g}"


class _ValueList(Section):
    kind: str
    """Kind of distribution."""
    values: tuple[Value, ...] = Field(min_length=1)
    """The values."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if len({repr(value) for value in self.values}) < len(self.values):
            raise ValueError(f"values = {list(self.values)}: a value is listed twice")
        return self

    @property
    def count(self) -> float:
        """Number of distinct values."""
        return len(self.values)

    def contains(self, value: Any) -> bool:
        """Return True for one of its values."""
        return value in self.values

    def clip(self, value: Any) -> Any:
        """Return the value; a listed value needs no bounds."""
        return value

    def check_values(self) -> tuple[Value, ...]:
        """Values that the base's configuration must allow: all of them."""
        return self.values

    def describe(self) -> str:
        """The distribution in a few words."""
        return f"{self.kind} of {', '.join(map(str, self.values))}"


class Choice(_ValueList):
    """One of several values, all equally likely."""

    kind: Literal["choice"] = "choice"


class Grid(_ValueList):
    """All of several values, in all combinations with the values of every other grid."""

    kind: Literal["grid"] = "grid"


Hyperparameter = Annotated[Uniform | LogUniform | QUniform | Choice | Grid, Field(discriminator="kind")]
