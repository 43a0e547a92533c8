import math

import pytest
import torch
from torch import nn

from raykd.config import DeepSpeedEngineConfig, TorchEngineConfig
from raykd.errors import CheckpointError
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.engines.engine import Engine, ParameterState
from raykd.trainers.optimizer import adamw, global_norm, scale_to_norm

CPU = torch.device("cpu")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("kept", torch.ones(2))
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.norm(self.first(values)))


def make_engine(model: nn.Module | None = None, precision: str = "fp32") -> Engine:
    torch.manual_seed(0)
    module = Model() if model is None else model
    return build_engine(TorchEngineConfig(), module, weight_decay=0.1, precision=precision, device=CPU)


def test_biases_and_norm_weights_do_not_decay() -> None:
    model = Model()
    decayed, others = adamw(model, weight_decay=0.1).param_groups
    assert [id(p) for p in decayed["params"]] == [id(model.first.weight)]
    assert [id(p) for p in others["params"]] == [id(p) for p in (model.first.bias, model.norm.weight, model.norm.bias)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert decayed["lr"] == 0


def test_a_model_of_vectors_alone_has_one_group() -> None:
    assert len(adamw(nn.LayerNorm(3), weight_decay=0.1).param_groups) == 1


def test_nothing_to_train_and_half_precision_are_refused() -> None:
    with pytest.raises(ValueError, match="unfreeze"):
        make_engine(Model().requires_grad_(False))
    with pytest.raises(ValueError, match=r"first\.weight is torch\.bfloat16; load models with dtype=torch\.float32"):
        make_engine(Model().to(torch.bfloat16))


def test_deepspeed_without_a_process_group_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="init_process_group"):
        build_engine(DeepSpeedEngineConfig(), Model(), weight_decay=0.1, precision="fp32", device=CPU)


@pytest.mark.parametrize("limit", [0.5, 100.0, 0.0])
def test_clipping_is_torchs(limit: float) -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(5))]
    for p in parameters:
        p.grad = torch.randn_like(p)
    mine = [p.grad.clone() for p in parameters if p.grad is not None]
    norm = global_norm(mine, partitioned=False)
    assert norm.item() == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in mine)))
    scale_to_norm(mine, norm, limit)
    if limit:
        torch.nn.utils.clip_grad_norm_(parameters, limit)
    for p, gradient in zip(parameters, mine, strict=True):
        torch.testing.assert_close(gradient, p.grad, rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_norm_of_a_non_finite_gradient_is_not_finite(bad: float) -> None:
    assert not torch.isfinite(global_norm([torch.ones(3), torch.tensor([1.0, bad])], partitioned=False))


def test_only_persistent_buffers_belong_to_the_state() -> None:
    engine = make_engine()
    names = {name: state for name, state in engine.state() if state is not None}
    assert set(names) == {
        *("first.weight", "first.bias", "norm.weight", "norm.bias", "frozen.weight", "frozen.bias"),
        "kept",
    }
    assert names["first.weight"].exp_avg is not None
    assert names["frozen.weight"].exp_avg is None
    assert all(state.exp_avg is None for _, state in engine.state(moments=False) if state is not None)


def test_the_state_is_a_copy() -> None:
    engine = make_engine()
    before = {name: state.weight for name, state in engine.state() if state is not None}
    kept = {name: weight.clone() for name, weight in before.items()}
    engine.accumulate(engine.model(torch.ones(2, 4)).square().sum(), boundary=True)
    engine.reduce_gradients()
    engine.step(0.1, max_grad_norm=0)
    assert all(torch.equal(before[name], kept[name]) for name in kept)
    assert not torch.equal(engine.module.first.weight, kept["first.weight"])


def test_loading_refuses_another_shape_and_missing_moments() -> None:
    engine = make_engine()
    saved = {name: state for name, state in engine.state() if state is not None}
    with pytest.raises(CheckpointError, match=r"first\.weight is \[2, 2\] in the checkpoint and \[3, 4\] in the model"):
        engine.load_state((saved | {"first.weight": ParameterState(torch.ones(2, 2))}).__getitem__, updates=1)
    with pytest.raises(CheckpointError, match=r"norm\.bias is trained here, but the checkpoint has no optimiser state"):
        engine.load_state((saved | {"norm.bias": ParameterState(torch.ones(3))}).__getitem__, updates=1)


def test_autocast_is_bf16_or_nothing() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        engine = make_engine(precision=precision)
        with engine.autocast():
            assert engine.model(torch.ones(1, 4)).dtype == dtype


def test_closing_leaves_the_model() -> None:
    engine = make_engine()
    engine.accumulate(engine.model(torch.ones(2, 4)).sum(), boundary=True)
    engine.close()
    assert all(p.grad is None for p in engine.module.parameters())
    assert torch.isfinite(engine.module(torch.ones(1, 4))).all()
