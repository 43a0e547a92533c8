"""A model with the modules that are trained beside it, as the one module an engine wants; its weights stay apart by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from raykd.data import storage

MODEL, BESIDE = "model", "beside"


class Composite(nn.Module):
    """Calls as the model does; with ``run`` it calls that instead, as ``run(model, beside, **inputs)``.

    Everything trainable is reached inside of ``forward``, which engines that gather weights there (ZeRO 3) need.
    """

    def __init__(self, model: nn.Module, beside: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.beside = nn.ModuleDict(beside)

    def forward(self, *, run: Callable[..., Any] | None = None, **inputs: Any) -> Any:
        """What the model, or ``run``, returns."""
        return self.model(**inputs) if run is None else run(self.model, self.beside, **inputs)

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config


def with_modules(model: nn.Module, beside: Mapping[str, nn.Module]) -> nn.Module:
    """The model itself where nothing is trained beside it."""
    return Composite(model, beside) if beside else model


def split_state(state: Iterable[tuple[str, Any]], names: Iterable[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Named values of :func:`with_modules` as the model's own and those of each module beside it, by their own names."""
    beside: dict[str, dict[str, Any]] = {name: {} for name in names}
    if not beside:
        return dict(state), {}
    model: dict[str, Any] = {}
    for name, value in state:
        place, _, inner = name.partition(".")
        if place == MODEL:
            model[inner] = value
        else:
            module, _, key = inner.partition(".")
            beside[module][key] = value
    return model, beside


def save_modules(folder: str, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write ``folder/<name>.safetensors`` for each module's weights; a module without any has no file."""
    from safetensors.torch import save

    for name, state in states.items():
        weights = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        if weights:
            storage.write_bytes(storage.join(folder, f"{name}.safetensors"), save(weights))
