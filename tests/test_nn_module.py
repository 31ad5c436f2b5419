"""Module: what it finds, by which names, and how a state is taken over or refused."""

import copy

import numpy as np
import pytest

from minigen import Tensor, nn, no_grad
from minigen.errors import CheckpointError, GraphError


class Block(nn.Module):
    def __init__(self, rng):
        self.second = nn.Dense(3, 2, rng=rng)
        self.first = Tensor([1.0, 2.0], requires_grad=True)
        self.mean = Tensor([0.5])
        self.parts = [
            nn.Dense(2, 2, bias=False, rng=rng),
            (nn.ReLU(), {"gate": Tensor([[3.0]], requires_grad=True)}),
        ]
        self.count, self.note, self.raw, self.nothing = 3, "text", np.ones(4), None


def test_names_follow_the_order_of_definition(rng):
    names = [name for name, _ in Block(rng).named_parameters()]
    assert names == ["second.W", "second.b", "first", "parts.0.W", "parts.1.1.gate"]
    assert [name for name, _ in Block(rng).named_buffers()] == ["mean"]
    assert [name for name, _ in Block(rng).named_modules()] == ["", "second", "parts.0", "parts.1.0"]


def test_results_of_operations_are_no_parameters(rng):
    block = Block(rng)
    block.cached = block.first * 2.0
    assert "cached" not in block.state_dict()
    block.cached.sum().backward()
    assert "cached" not in block.state_dict(), "a spent result is still a result"


def test_tied_parameters_count_once(rng):
    a, b = nn.Dense(3, 3, rng=rng), nn.Dense(3, 3, rng=rng)
    b.W = a.W
    model = nn.Sequential(a, b, a)
    assert [name for name, _ in model.named_parameters()] == ["layers.0.W", "layers.0.b", "layers.1.b"]
    assert len(model.parameters()) == len(model.state_dict()) == 3
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})
    assert b.W is a.W, "a load keeps the tie"


def test_cycles_end(rng):
    a, b = Block(rng), Block(rng)
    a.other, b.other = b, a
    a.parts.append(a.parts)
    assert len(a.parameters()) == 10
    assert "other.second" in repr(a)


def test_sets_are_refused(rng):
    model = nn.Module()
    model.layers = {nn.Dense(2, 2, rng=rng)}
    with pytest.raises(GraphError, match="layers is a set"):
        model.parameters()


def test_two_tensors_of_one_name_are_refused():
    model = nn.Module()
    model.a = {"b.c": Tensor([1.0]), "b": {"c": Tensor([2.0])}}
    with pytest.raises(CheckpointError, match=r"two tensors named 'a\.b\.c'"):
        model.state_dict()


def test_a_frozen_parameter_stays_in_the_state(rng):
    layer = nn.Dense(2, 3, rng=rng)
    layer.W.require_grad(False)
    assert [name for name, _ in layer.named_parameters()] == ["b"]
    assert list(layer.state_dict()) == ["W", "b"]


def test_a_state_is_a_copy_and_loads_exactly(rng):
    model, other = Block(rng), Block(rng)
    state = model.state_dict()
    assert all(type(array) is np.ndarray for array in state.values())
    state["first"][:] = 7
    assert (model.first.numpy() == [1, 2]).all()
    other.load_state_dict(state)
    state["first"][:] = 8
    for name, array in other.state_dict().items():
        if name != "first":
            assert (array == state[name]).all(), name
    assert (other.first.numpy() == 7).all(), "a loaded parameter must not share memory with the state"
    assert other.first.dtype == np.float32


def test_a_load_into_arrays_of_the_user_leaves_those_alone():
    mine = np.ones(3, np.float32)
    model = nn.Module()
    model.w = Tensor(mine, requires_grad=True)
    model.load_state_dict({"w": np.zeros(3, np.float32)})
    assert (mine == 1).all()
    assert (model.w.numpy() == 0).all()


def test_one_error_lists_everything_and_nothing_changes(rng):
    model = Block(rng)
    state = model.state_dict()
    before = model.state_dict()
    state["first"] = state["first"] + 1
    state["second.W"] = np.ones((2, 3), np.float32)
    state["second.b"] = np.ones(2, np.int64)
    del state["mean"], state["parts.0.W"]
    state["stranger"] = np.ones(1)
    with pytest.raises(CheckpointError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert "missing: mean, parts.0.W" in text
    assert "unexpected: stranger" in text
    assert "second.W is (2, 3) float32, expected (3, 2) float32" in text
    assert "second.b is (2,) int64" in text
    assert "\n" not in text
    for name, array in model.state_dict().items():
        assert (array == before[name]).all(), f"{name} changed"


def test_train_and_eval_reach_every_part(rng):
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5, rng=rng)), nn.BatchNorm(2))
    assert model.training
    assert model.eval() is model
    assert not any(part.training for part in model.modules())
    assert all(part.training for part in model.train().modules())
    assert nn.Module.training is True, "the switch is the instance's own"
    assert "training" not in repr(model.eval())


def test_generators_are_found_for_exact_resume(rng):
    model = nn.Sequential(
        nn.Dropout(0.5, rng=rng), nn.Dropout(0.5, rng=rng), nn.Dropout(0.1, rng=rng.spawn(1)[0])
    )
    assert [name for name, _ in model.named_generators()] == ["layers.0.rng", "layers.2.rng"]


def test_a_module_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match=r"Module does not say what it computes: define __call__"):
        nn.Module()(1)


def test_repr_shows_shapes_and_counts(rng):
    model = nn.Sequential(nn.Dense(784, 20, rng=rng), nn.LeakyReLU(0.1), nn.BatchNorm(20))
    lines = repr(model).splitlines()
    assert lines[0] == "Sequential  15,740 parameters"
    assert lines[1].split() == ["layers.0", "Dense", "W", "(784,", "20)", "b", "(20,)", "15,700"]
    assert lines[2].split() == ["layers.1", "LeakyReLU(slope=0.1)"]
    assert "running_mean (20,) (no gradient)" in lines[3]
    assert len({len(line) for line in (lines[1], lines[3])}) == 1, "columns align"
    assert repr(nn.Dense(2, 3, rng=rng)) == "Dense  W (2, 3)  b (3,)  9 parameters"
    assert repr(nn.ReLU()) == "ReLU  0 parameters"


def test_a_copy_is_independent(rng):
    model = Block(rng)
    twin = copy.deepcopy(model)
    twin.first.data = np.zeros(2, np.float32)
    assert (model.first.numpy() == [1, 2]).all()
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_a_load_between_forward_and_backward_is_noticed(rng):
    layer = nn.Dense(2, 1, rng=rng)
    x = Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    y = layer(x).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_buffers_computed_without_gradients_are_buffers(rng):
    model = nn.Module()
    with no_grad():
        model.code = Tensor([1.0], requires_grad=True) * 2.0
    assert list(model.state_dict()) == ["code"]
