"""A model and its auxiliary modules (projections, extra heads) as the one module an engine trains; their weights stay apart."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from raykd.data import storage

MODEL = "model"


class Composite(nn.Module):
    """A model and its auxiliary modules.

    Calls as the model does; with ``run`` it calls ``run(model, auxiliary, **inputs)`` instead. Everything trainable is reached
    inside of ``forward``: engines that gather weights there (ZeRO 3) need that.
    """

    def __init__(self, model: nn.Module, auxiliary: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.auxiliary = nn.ModuleDict(auxiliary)

    def forward(self, *, run: Callable[..., Any] | None = None, **inputs: Any) -> Any:
        """Return the output of the model, or of ``run``."""
        return self.model(**inputs) if run is None else run(self.model, self.auxiliary, **inputs)

    @property
    def config(self) -> Any:
        """Configuration of the model."""
        return self.model.config


def with_modules(model: nn.Module, auxiliary: Mapping[str, nn.Module]) -> nn.Module:
    """A :class:`Composite`; the model itself where there are no auxiliary modules."""
    return Composite(model, auxiliary) if auxiliary else model


def split_state(state: Iterable[tuple[str, Any]], names: Iterable[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Split named values of :func:`with_modules` into the model's and those of each auxiliary module, by their own names."""
    auxiliary: dict[str, dict[str, Any]] = {name: {} for name in names}
    if not auxiliary:
        return dict(state), {}
    model: dict[str, Any] = {}
    for name, value in state:
        owner, _, inner = name.partition(".")
        if owner == MODEL:
            model[inner] = value
        else:
            module, _, key = inner.partition(".")
            auxiliary[module][key] = value
    return model, auxiliary


def save_modules(folder: str, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write ``folder/<name>.safetensors`` for each module's weights; a module without any has no file."""
    from safetensors.torch import save

    for name, state in states.items():
        weights = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        if weights:
            storage.write_bytes(storage.join(folder, f"{name}.safetensors"), save(weights))
