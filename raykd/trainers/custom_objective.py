"""Objectives from outside raykd, named by ``package.module:Class`` in a job file."""

import difflib
import hashlib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.errors import ConfigError, RaykdError, TrainingError
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_output


def load_objective(target: str, arguments: Mapping[str, Any]) -> "CustomObjective":
    """Import the class ``package.module:Class`` and construct it with keyword arguments.

    Modules are found as in any Python program; the current folder is searched too. Raises ConfigError: the module or class is
    missing or fails to import, the class is not an :class:`Objective`, its constructor refuses the arguments.
    """
    cls = _load_class(target)
    _check_arguments(target, cls, arguments)
    try:
        return CustomObjective(target, cls(**arguments))
    except RaykdError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(f"objective {target} refuses arguments {dict(arguments)}: {_describe(error)}") from error


def source_digest(target: str) -> str:
    """Hash of the source of the class's module and of those of its base classes outside raykd."""
    digest = hashlib.blake2b(digest_size=16)
    for base in _load_class(target).__mro__:
        file = getattr(sys.modules.get(base.__module__), "__file__", None)
        if file is not None and base.__module__.partition(".")[0] not in ("raykd", "torch", "typing"):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class CustomObjective(Objective):
    """A user's objective, whose output is checked at each call; masks rows that are not valid."""

    target: str
    """``package.module:Class``, for messages."""
    inner: Objective

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Those of the user's objective."""
        return tuple(self.inner.side_columns)

    @property
    def needs_labels(self) -> bool:
        """True when the user's objective reads labels."""
        return self.inner.needs_labels

    @property
    def takes_unlabelled(self) -> bool:
        """True when the user's objective takes batches with unlabelled rows."""
        return self.inner.takes_unlabelled

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """Those of the user's objective."""
        return self.inner.trainable

    @property
    def frozen(self) -> nn.Module | None:
        """That of the user's objective."""
        return self.inner.frozen

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raise ConfigError when the user's objective refuses the task."""
        self.inner.check(num_labels=num_labels, whole_batch=whole_batch)

    def at(self, progress: float) -> Self:
        """Return the objective at a fraction of the steps."""
        return replace(self, inner=self.inner.at(progress))

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Run the user's objective. Raises TrainingError when it fails or returns anything but one number per row and term."""
        try:
            output = self.inner(model, batch)
        except (RaykdError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the user's code may raise anything
            raise TrainingError(f"objective {self.target} raised {_describe(error)}") from error
        self._check_output(output, batch.valid.shape[0])
        return valid_output(output.terms, batch.valid)

    def _check_output(self, output: Any, rows: int) -> None:
        """Raise TrainingError unless every term is fp32 of shape ``[B]``."""
        if not isinstance(output, ObjectiveOutput) or not output.terms:
            raise TrainingError(
                f"objective {self.target} returned {type(output).__name__}; it must return an ObjectiveOutput with at least "
                "one term, as ObjectiveOutput({'my_term': loss}) with loss of shape [B]"
            )
        for name, term in output.terms.items():
            if not isinstance(term, Tensor) or term.shape != (rows,):
                given = f"shape {list(term.shape)}" if isinstance(term, Tensor) else f"type {type(term).__name__}"
                raise TrainingError(
                    f"objective {self.target}: term {name!r} has {given} for a batch of {rows} rows; it must have shape "
                    f"[{rows}], one number per row (reduce over classes or tokens, not over rows)"
                )
            if term.dtype != torch.float32:
                raise TrainingError(
                    f"objective {self.target}: term {name!r} has dtype {term.dtype}; compute losses in fp32 (logits.float())"
                )


def _load_class(target: str) -> type[Objective]:
    """Raises ConfigError."""
    name, _, attribute = target.partition(":")
    module = _import(name, target)
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(f"objective {target}: module {name} has no {attribute}{_nearest(attribute, _objectives_in(module))}")
    if not isinstance(found, type) or Objective not in found.__mro__:
        raise ConfigError(
            f"objective {target}: {attribute} is not a subclass of raykd.trainers.objective.Objective; inherit from it"
        )
    if found.__call__ is Objective.__call__:
        raise ConfigError(f"objective {target} has no __call__(self, model, batch), which returns its terms; define it")
    return found


def _import(name: str, target: str) -> ModuleType:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # a console script does not search the current folder
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"objective {target}: module {name} needs {error.name}, which is not installed") from error
        raise ConfigError(
            f"objective {target}: there is no module {error.name}; a local run imports from the current folder "
            f"({os.getcwd()}) and PYTHONPATH, a cluster from its runtime environment (docs/clusters.md)"
        ) from None
    except Exception as error:  # the user's module may raise anything
        raise ConfigError(f"objective {target}: importing {name} raised {_describe(error)}") from error


def _check_arguments(target: str, cls: type[Objective], arguments: Mapping[str, Any]) -> None:
    """Raise ConfigError that names unknown and missing arguments of the constructor."""
    own = [base for base in cls.__mro__ if Objective in base.__mro__ and base is not Objective]
    parameters = inspect.signature(cls).parameters if any("__init__" in vars(base) for base in own) else {}
    named = [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        unknown = next((name for name in arguments if name not in named), None)
        if unknown is not None:
            raise ConfigError(f"objective {target} has no argument {unknown!r}{_nearest(unknown, named)}")
    missing = [name for name in named if parameters[name].default is inspect.Parameter.empty and name not in arguments]
    if missing:
        raise ConfigError(f"objective {target} needs {', '.join(missing)}; give a value in student.objective.arguments")


def _objectives_in(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, type) and Objective in value.__mro__[1:]]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; it has {', '.join(known)}" if known else ""


def _describe(error: Exception) -> str:
    """Type, message and last line of code of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
