"""Bad input to the engine: one line that names the thing, what was found, what was expected, what to do.

test_ops refuses misfitting shapes for every op, in minigen's own words; here are the mistakes that learners make, with
the sentence that each of them reads.
"""

import numpy as np
import pytest

from minigen import Tensor, grad, nn, ops, optim, use
from minigen.errors import (
    BackendError,
    CheckpointError,
    CourseError,
    DataError,
    DivergenceError,
    DTypeError,
    GraphError,
    MinigenError,
    SettingError,
    ShapeError,
)

RNG = np.random.default_rng(0)


def ones(*shape, **options):
    return Tensor(np.ones(shape, np.float32), **options)


LEARNERS = {
    "shapes that do not broadcast": (
        lambda: ones(2, 3) + ones(4),
        ShapeError,
        "add(a: (2, 3) float32, b: (4,) float32): axis -1 has sizes 3 and 4: sizes must be equal, or one of them 1",
    ),
    "matmul the wrong way round": (
        lambda: ones(5, 3) @ ones(2, 3),
        ShapeError,
        "matmul(a: (5, 3) float32, b: (2, 3) float32): the last axis of a (3) must equal the rows of b (2): "
        "did you mean b.mT?",
    ),
    "matmul with a number": (lambda: ones(2, 3) @ 2.0, MinigenError, "use * to scale by a number"),
    "images that were not flattened": (
        lambda: ops.linear(ones(8, 28, 28), ones(784, 10), ones(10)),
        ShapeError,
        "the layer expects 784 features on the last axis of x, found 28: flatten the images first, x.reshape(8, -1)",
    ),
    "a bias of another shape": (
        lambda: ops.linear(ones(8, 4), ones(4, 3), ones(8, 3)),
        ShapeError,
        "the bias must have shape (3,), got (8, 3) float32",
    ),
    "(N,) against (N, 1), squared error": (
        lambda: ops.squared_error(ones(4), ones(4, 1)),
        ShapeError,
        "the prediction is (4,) float32, the target (4, 1) float32: a loss wants equal shapes",
    ),
    "(N, 1) against (N,), cross-entropy of bits": (
        lambda: ops.bce_with_logits(ones(4, 1), ones(4)),
        ShapeError,
        "broadcasting would compare every row with every other",
    ),
    "a class index too large": (
        lambda: ops.cross_entropy(ones(2, 3), labels=np.array([0, 3])),
        ShapeError,
        "label 3 is outside the 3 classes 0..2 of the logits",
    ),
    "a class index of -1": (
        lambda: ops.cross_entropy(ones(2, 3), labels=np.array([0, -1])),
        ShapeError,
        "label -1 is outside the 3 classes 0..2 of the logits",
    ),
    "one-hot labels": (
        lambda: ops.cross_entropy(ones(2, 3), labels=np.eye(3, dtype=int)[:2]),
        ShapeError,
        "labels are class indices, not one-hot rows; use labels.argmax(1)",
    ),
    "labels of floats": (
        lambda: ops.cross_entropy(ones(2, 3), labels=np.array([0.0, 1.0])),
        ShapeError,
        "labels must be (2,) integers, got (2,) float64",
    ),
    "integers asked for gradients": (
        lambda: Tensor([1, 2], requires_grad=True),
        DTypeError,
        "a tensor of dtype int64 cannot require gradients: only floating-point numbers have them; "
        "convert it with .astype('float32')",
    ),
    "backward of a batch of losses": (
        lambda: (ones(4, requires_grad=True) * 2.0).backward(),
        GraphError,
        "backward: the output has shape (4,), not a scalar: reduce it with .sum() or .mean(), or pass seed=",
    ),
    "backward without parameters": (
        lambda: (ones(4) * 2.0).sum().backward(),
        GraphError,
        "no input requires gradients, or it was made under no_grad",
    ),
    "a graph that was cut": (
        lambda: grad((ones(2, requires_grad=True) * 1.0).sum(), ones(2, requires_grad=True, name="W")),
        GraphError,
        "grad: y does not depend on the tensor 'W' (2,) float32: was the graph cut (.data, .detach(), no_grad)?",
    ),
    "a list among the operands": (
        lambda: ones(2) * ["a", "b"],
        DTypeError,
        "mul: an operand that is not an array of numbers",
    ),
    "None among the operands": (lambda: ones(2) * None, MinigenError, "mul"),
    "text among the operands": (
        lambda: ones(2) * "two",
        DTypeError,
        "mul: cannot use a str as an operand: give a Tensor, array or number",
    ),
    "an axis that is not there": (
        lambda: ones(2, 3).sum(axis=2),
        ShapeError,
        "there is no axis 2: the array has 2 axes, 0 to 1 (or -2 to -1)",
    ),
    "the mean of nothing": (lambda: ones(0, 3).mean(), ShapeError, "there is no mean of no elements"),
    "a shape that does not hold": (
        lambda: ones(2, 3).reshape(4, -1),
        ShapeError,
        "reshape(x: (2, 3) float32, shape=(4, -1)): 6 numbers do not fill the shape (4, -1)",
    ),
    "settings by their place": (
        lambda: ops.swapaxes(ones(2, 3, 4), 1, 2),
        DTypeError,
        "settings go by name: swapaxes(x, a=..., b=...)",
    ),
    "an axis by its place": (
        lambda: ops.softmax(ones(2, 3), 1),
        DTypeError,
        "softmax(x: (2, 3) float32, axis: 1): settings go by name: softmax(x, axis=...)",
    ),
    "a mask of numbers": (
        lambda: ops.where(ones(2), ones(2), ones(2)),
        DTypeError,
        "the condition must be a boolean array, got (2,) float32: compare first, as in x > 0",
    ),
    "a place that is not there": (
        lambda: ones(3)[5],
        ShapeError,
        "take(x: (3,) float32, index=5): index 5 is outside axis 0 of size 3 (0 to 2, or -3 to -1)",
    ),
    "writing into a tensor": (lambda: ones(3).__setitem__(0, 1.0), GraphError, "cannot be assigned into"),
    "an unknown backend": (
        lambda: use("tpu"),
        BackendError,
        "unknown backend 'tpu': choose one of numpy, cupy",
    ),
    "a batch of one in batch norm": (
        lambda: nn.BatchNorm(3)(ones(1, 3)),
        ShapeError,
        "the statistics of a batch need at least 2: use a larger batch, or .eval()",
    ),
    "a layer of negative size": (
        lambda: nn.Dense(-3, 2, rng=RNG),
        SettingError,
        "Dense: got n_in -3: a size is a whole number of at least 1",
    ),
    "a layer of half a unit": (lambda: nn.LayerNorm(2.5), SettingError, "LayerNorm: got n 2.5"),
    "a seed for a generator": (
        lambda: nn.Dense(3, 2, rng=0),
        DTypeError,
        "Dense: rng must be a NumPy Generator, got 0: make one with np.random.default_rng(seed)",
    ),
    "no generator for an initial value": (lambda: nn.init.normal((2,), rng=0), DTypeError, "rng must be"),
    "channels below 1": (lambda: nn.Conv2d(1, -4, 3, rng=RNG), SettingError, "Conv2d: got n_out -4"),
    "a kernel below 1": (lambda: nn.Conv2d(1, 4, -3, rng=RNG), ShapeError, "kernel must be at least 1"),
    "a padding below 0": (lambda: nn.Conv2d(1, 4, 3, padding=-1, rng=RNG), ShapeError, "padding must be"),
    "a stride of 0": (lambda: nn.ConvTranspose2d(1, 4, 3, stride=0, rng=RNG), ShapeError, "stride must be"),
    "a window below 1": (lambda: nn.MaxPool2d(0), ShapeError, "kernel must be at least 1, got 0"),
    "a probability of text": (lambda: nn.Dropout("a", rng=RNG), SettingError, "in [0, 1), got 'a'"),
    "a learning rate of text": (
        lambda: optim.SGD([ones(2, requires_grad=True)], lr="a"),
        SettingError,
        "SGD: lr must be a number, got 'a'",
    ),
    "an optimizer of nothing": (lambda: optim.Adam([], lr=0.1), GraphError, "pass model.parameters()"),
    "an optimizer of None": (
        lambda: optim.Adam(None, lr=0.1),
        DTypeError,
        "an optimizer takes a list of Tensors, got a NoneType: pass model.parameters()",
    ),
    "a state that is none": (
        lambda: nn.Dense(3, 2, rng=RNG).load_state_dict(None),
        CheckpointError,
        "the state of this Dense must be a dict of arrays by name, as state_dict() gives it, got NoneType",
    ),
}


@pytest.mark.parametrize(("mistake", "kind", "says"), LEARNERS.values(), ids=LEARNERS)
def test_what_a_learner_reads(mistake, kind, says):
    with pytest.raises(MinigenError) as caught:
        mistake()
    text = str(caught.value)
    assert says in text
    assert "\n" not in text
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    "f", [ops.add, ops.mul, ops.matmul, ops.maximum, ops.squared_error], ids=lambda f: f.name
)
@pytest.mark.parametrize(
    "operand",
    [None, "a", object(), {"a": 1}, [None], ["a"], [[1.0], [1.0, 2.0]], 1j, np.array(["a"])],
    ids=lambda one: repr(one).partition(" at ")[0],
)
def test_what_is_no_operand(f, operand):
    """Whatever is given beside a Tensor, on either side: a MinigenError, never a bare TypeError of Python or NumPy."""
    for call in (lambda: f(ones(2), operand), lambda: f(operand, ones(2))):
        with pytest.raises(MinigenError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert f.name in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "builtin", "code"),
    [
        (ShapeError, ValueError, 2), (DTypeError, TypeError, 2), (GraphError, RuntimeError, 2),
        (BackendError, RuntimeError, 5),
        (DataError, ValueError, 1), (CheckpointError, ValueError, 1), (CourseError, ValueError, 2),
        (DivergenceError, ArithmeticError, 1),
    ],
)  # fmt: skip
def test_kinds(kind, builtin, code):
    """Each is also the built-in exception that a Python programmer would catch, and has an exit code."""
    assert issubclass(kind, MinigenError)
    assert issubclass(kind, builtin)
    assert kind.exit_code == code


def test_the_cause_is_kept_for_those_who_dig():
    with pytest.raises(ShapeError) as caught:
        ones(2, 3) + ones(4)
    assert isinstance(caught.value.__cause__, ValueError)
