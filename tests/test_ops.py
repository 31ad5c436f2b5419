"""Every op, tested from its row in op_samples: nothing here knows an op by name."""

import importlib
import linecache
import pkgutil

import numpy as np
import pytest
from backends import on_a_device
from op_samples import EXTREMES, SAMPLES, Extreme, Sample
from strict import watching

from minigen import Tensor, grad, ops
from minigen.autograd import is_op
from minigen.backend import active, from_host, to_host, using
from minigen.errors import MinigenError

each_op = pytest.mark.parametrize("row", SAMPLES, ids=str)
binary_op = pytest.mark.parametrize("row", [r for r in SAMPLES if r.kind == "binary"], ids=str)


def moved(value):
    """Keywords on the active backend: index arrays and labels travel, numbers and slices do not."""
    if isinstance(value, dict):
        return {k: moved(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(map(moved, value))
    return from_host(value) if isinstance(value, np.ndarray) else value


def called(row, *arrays):
    return named(row.name)(*arrays, **moved(row.kwargs))


def leaves(row, arrays):
    """Tensors of the differentiable operands, raw arrays of the others; and the list of those Tensors."""
    args = [
        Tensor(from_host(a), requires_grad=True) if x.differentiable else from_host(a)
        for x, a in zip(row.inputs, arrays, strict=True)
    ]
    return args, [a for a in args if isinstance(a, Tensor)]


def first_order(row, arrays, seed):
    """Value and gradients of <op(arrays), seed>, on the host."""
    args, xs = leaves(row, arrays)
    y = called(row, *args)
    return to_host(y.detach().data), [to_host(g) for g in grad(y, xs, seed=from_host(seed))]


def second_order(row, arrays, seed, directions):
    """First-order gradients as Tensors, and the gradients of their projection on `directions` (also for the seed)."""
    args, xs = leaves(row, arrays)
    seed = Tensor(from_host(seed), requires_grad=True)
    gs = grad(called(row, *args), xs, seed=seed, create_graph=True)
    projection = sum(((g * from_host(v)).sum() for g, v in zip(gs, directions, strict=True)), start=0.0)
    found = grad(projection, [*xs, seed], allow_unused=True)
    shapes = [x.shape for x in [*xs, seed]]
    second = [np.zeros(s) if g is None else to_host(g) for g, s in zip(found, shapes, strict=True)]
    return [to_host(g.detach().data) for g in gs], second


def differences(f, arrays):
    """Central differences of the scalar f for each element of each array (which f reads and nobody keeps)."""
    for array in arrays:
        numeric = np.empty(array.shape)
        for place in np.ndindex(*array.shape):
            value, h = array[place], 1e-5 * max(1.0, abs(array[place]))
            array[place] = value + h
            above = f()
            array[place] = value - h
            below = f()
            array[place] = value
            numeric[place] = (above - below) / (2 * h)
        yield numeric


def differentiable(row, arrays):
    return [a for x, a in zip(row.inputs, arrays, strict=True) if x.differentiable]


def seed_of(row, arrays, rng):
    return rng.standard_normal(np.shape(row.oracle(*arrays, **row.kwargs)))


def close(found, expected, rtol=1e-12, atol=1e-12, message=""):
    assert found.shape == expected.shape, message
    np.testing.assert_allclose(found, expected, rtol, atol, err_msg=message)


ROOMS = [importlib.import_module(f"minigen.ops.{m.name}") for m in pkgutil.iter_modules(ops.__path__)]


def named(name):
    """The op of that name, from minigen.ops or the file in it that keeps it."""
    return next(getattr(room, name) for room in [ops, *ROOMS] if hasattr(room, name))


def test_every_op_has_a_row():
    everything = set(ops.__all__) | {
        name for room in ROOMS for name, value in vars(room).items() if is_op(value)
    }
    missing = everything - {row.name for row in SAMPLES}
    assert not missing, f"tests/op_samples.py has no row for {sorted(missing)}"


@each_op
def test_value(row, rng):
    """Raw arrays in, one raw array out; a Tensor in, a Tensor out; the inputs stay as they were."""
    arrays = row.draw(rng)
    before = [a.copy() for a in arrays]
    y = called(row, *arrays)
    expected = np.asarray(row.oracle(*arrays, **row.kwargs))
    assert not isinstance(y, Tensor)
    assert isinstance(called(row, *map(Tensor, arrays)), Tensor)
    close(np.asarray(y), expected)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


@each_op
def test_gradient(row, rng):
    """First order, against differences of the raw op, with a random upstream gradient."""
    arrays = row.draw(rng)
    seed = seed_of(row, arrays, rng)
    before = [a.copy() for a in arrays]
    _, gs = first_order(row, arrays, seed)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b, "the backward pass changed an input")
    numeric = differences(lambda: float(np.vdot(seed, called(row, *arrays))), differentiable(row, arrays))
    for g, n in zip(gs, numeric, strict=True):
        close(g, n, 1e-6, 1e-8)


@each_op
def test_second_order(row, rng):
    """Both modes of a rule give one first-order gradient, and its projections have the right gradients."""
    arrays = row.draw(rng)
    seed = seed_of(row, arrays, rng)
    directions = [rng.standard_normal(a.shape) for a in differentiable(row, arrays)]
    gs, second = second_order(row, arrays, seed, directions)
    for g, recorded in zip(first_order(row, arrays, seed)[1], gs, strict=True):
        close(recorded, g)

    def projection():
        _, gs = first_order(row, arrays, seed)
        return sum(float(np.vdot(v, g)) for v, g in zip(directions, gs, strict=True))

    for found, numeric in zip(
        second, differences(projection, [*differentiable(row, arrays), seed]), strict=True
    ):
        close(found, numeric, 1e-6, 1e-7)


@each_op
def test_float32_stays_float32(row, rng):
    """Values and gradients, whatever float64 constants are mixed in."""
    if "dtype" in row.kwargs:
        pytest.skip("the op that changes dtypes")
    arrays = [a.astype(np.float32) if a.dtype == float else a for a in row.draw(rng)]
    seed = seed_of(row, arrays, rng)  # float64
    y, gs = first_order(row, arrays, seed)
    assert y.dtype == np.float32
    assert {g.dtype for g in gs} == {np.dtype(np.float32)}
    close(y, np.asarray(row.oracle(*(a.astype(float) for a in arrays), **row.kwargs)), 2e-4, 1e-5)
    assert np.asarray(called(row, *arrays)).dtype == np.float32, "raw float32 in, raw float32 out"
    for i, x in enumerate(row.inputs):  # one operand a Tensor, the others float64 constants
        if x.differentiable:
            args = [Tensor(a, requires_grad=True) if j == i else a.astype(float if k.differentiable else bool)
                    for j, (a, k) in enumerate(zip(arrays, row.inputs, strict=True))]  # fmt: skip
            y = called(row, *args)
            assert y.dtype == np.float32
            assert grad(y, args[i], seed=seed).dtype == np.float32


@binary_op
@pytest.mark.parametrize(
    "constant", [2, 2.5, np.float64(2.5), np.float32(2.5), np.array(2.5), np.arange(1, 4), True], ids=repr
)
def test_constants_do_not_widen(row, constant, rng):
    """Python and NumPy numbers, 0-d, integer and boolean operands leave float32 alone, first or second, both orders."""
    f = named(row.name)
    x = Tensor(rng.uniform(0.5, 1.5, (2, 3)).astype(np.float32), requires_grad=True)
    wide = x.detach().numpy().astype(float)
    for y, expected in [(f(x, constant), f(wide, constant)), (f(constant, x), f(constant, wide))]:
        assert y.dtype == np.float32
        close(y.numpy(), np.asarray(expected), 1e-5, 1e-6)
        (g,) = grad(y, [x], seed=np.ones((2, 3)), create_graph=True)
        assert g.dtype == np.float32
        if g.requires_grad:
            assert all(h is None or h.dtype == np.float32 for h in grad(g.sum(), [x], allow_unused=True))


@binary_op
@pytest.mark.parametrize(
    "shapes",
    [((2, 3), ()), ((), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((4, 1, 3), (2, 1)), ((1,), (3,)),
     ((1, 1), ()), ((), ()), ((2, 0), (1,)), ((1, 3), (0, 1))],
    ids=str,
)  # fmt: skip
def test_broadcasting(row, shapes, rng):
    """The gradient has the shape of its operand, and sums what broadcasting repeated: both orders."""
    narrow = Sample(
        row.name, tuple(x.of_shape(*s) for x, s in zip(row.inputs, shapes, strict=True)), row.oracle
    )
    test_value(narrow, rng)
    test_gradient(narrow, rng)
    test_second_order(narrow, rng)


@each_op
def test_layout(row, rng):
    """Strided, reversed and Fortran-ordered operands and upstream gradients mean the same numbers."""
    arrays = row.draw(rng)
    seed = seed_of(row, arrays, rng)
    y, gs = first_order(row, arrays, seed)
    for relayout in (_strided, _reversed, _fortran):
        y2, gs2 = first_order(row, [relayout(a) for a in arrays], relayout(seed))
        close(y2, y)
        for a, b in zip(gs2, gs, strict=True):
            close(a, b)


def _strided(a):
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]) if a.ndim else (2,), 7, a.dtype)
    view = wide[..., ::2] if a.ndim else wide[0, ...]
    view[...] = a
    return view


def _fortran(a):
    return np.array(a, order="F")


def _reversed(a):
    return a[::-1].copy()[::-1] if a.ndim else a


@pytest.mark.parametrize("row", [r for r in SAMPLES if r.empty], ids=str)
def test_empty(row):
    """No elements in: the right shape out, and gradients of the right shape."""
    for shapes in row.empty:
        shapes = shapes if shapes and isinstance(shapes[0], tuple) else (shapes,)
        args, xs = leaves(row, [np.zeros(s, bool if not x.differentiable else float)
                                for s, x in zip(shapes, row.inputs, strict=True)])  # fmt: skip
        y = called(row, *args)
        if row.name not in ("squeeze", "expand_dims"):  # whose oracles know their sizes by heart
            close(
                y.numpy(),
                np.asarray(
                    row.oracle(
                        *map(np.asarray, (a.numpy() if isinstance(a, Tensor) else a for a in args)),
                        **row.kwargs,
                    )
                ),
            )
        for x, g in zip(xs, grad(y, xs, seed=np.zeros(y.shape)), strict=True):
            assert g.shape == x.shape


@pytest.mark.parametrize("row", [r for r in SAMPLES if r.kind], ids=str)
def test_no_axes(row, rng):
    """Elementwise ops of 0-d operands: 0-d values and gradients, never NumPy scalars inside a Tensor."""
    point = Sample(row.name, tuple(x.of_shape() for x in row.inputs), row.oracle, row.kwargs)
    test_value(point, rng)
    test_gradient(point, rng)
    args, xs = leaves(point, point.draw(rng))
    y = called(point, *args)
    assert type(y.data) is np.ndarray
    assert all(g.shape == () for g in grad(y, xs))


@each_op
@on_a_device
def test_backend(row, backend, rng):
    """The same values and gradients, of both orders, as with NumPy; and nobody waits for the device."""
    arrays = row.draw(rng)
    seed = seed_of(row, arrays, rng)
    directions = [rng.standard_normal(a.shape) for a in differentiable(row, arrays)]
    y, gs = first_order(row, arrays, seed)
    _, second = second_order(row, arrays, seed, directions)
    with using(backend):
        on_device = first_order(row, arrays, seed)
        also = second_order(row, arrays, seed, directions)
        for found, expected in zip(
            [on_device[0], *on_device[1], *also[0], *also[1]], [y, *gs, *gs, *second], strict=True
        ):
            close(found, expected, 1e-10, 1e-10)
        args, xs = leaves(row, arrays)
        kwargs, seed = moved(row.kwargs), from_host(seed)
        with watching() as events:
            grad(named(row.name)(*args, **kwargs), xs, seed=seed)
    allowed = [
        e for e in events if e.startswith("wait") and _holds_arrays(row.kwargs)
    ]  # bounds, masks: asked on purpose
    assert len(events) == len(allowed), f"crossed between host and device: {events}"


def _holds_arrays(kwargs):
    values = [v for value in kwargs.values() for v in (value if isinstance(value, tuple) else (value,))]
    return any(isinstance(v, np.ndarray) for v in values)


@pytest.mark.parametrize("row", EXTREMES, ids=lambda row: f"{row.name}{row.inputs}"[:60])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_extreme(row: Extreme, dtype):
    """Kinks follow the documented convention; logits of 1e4 give finite, right numbers."""
    x, *others = row.inputs
    x = Tensor(np.array(x, dtype), requires_grad=True)
    y = named(row.name)(x, *(np.array(o, dtype) if isinstance(o, list) else o for o in others), **row.kwargs)
    rtol = 1e-6 if dtype == "float32" else 1e-12
    close(y.numpy(), np.array(row.value, dtype), rtol, 0)
    close(np.asarray(grad(y, x, seed=np.ones(y.shape))), np.array(row.gradient, dtype), rtol, 0)


@pytest.mark.parametrize("row", [r for r in SAMPLES if r.misfits], ids=str)
def test_misfits_are_refused_in_our_own_words(row, rng):
    """One line that names the op and every operand, and not a word of NumPy's message."""
    f = named(row.name)
    for shapes, kwargs in row.misfits:
        kwargs = {**{k: v for k, v in row.kwargs.items() if k not in ("axis",)}, **kwargs}
        args = [np.ones(s, bool if i < len(row.inputs) and not row.inputs[i].differentiable else float)
                for i, s in enumerate(shapes)]  # fmt: skip
        with pytest.raises(MinigenError) as caught:
            f(*map(Tensor, args), **kwargs)
        text = str(caught.value)
        case = f"{row.name}{shapes}{kwargs}: {text}"
        assert "\n" not in text, case
        if is_op(f):
            assert text.startswith(row.name), case
            assert all(str(tuple(s)) in text for s in shapes), case
        assert not _foreign(caught.value), f"NumPy's words in {case}"


def _foreign(error) -> bool:
    """Whether the message quotes an exception that minigen did not raise itself."""
    cause = error.__cause__
    if cause is None or isinstance(cause, MinigenError):
        return cause is not None and _foreign(cause)
    frame = cause.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    line = linecache.getline(frame.tb_frame.f_code.co_filename, frame.tb_lineno)
    ours = "minigen" in frame.tb_frame.f_globals["__name__"] and line.strip().startswith("raise")
    return not ours and str(cause).splitlines()[0] in str(error)


@pytest.mark.parametrize("row", [r for r in SAMPLES if r.empty is None], ids=str)
def test_nothing_to_reduce_is_refused(row):
    """The mean, the largest value, ... of nothing: an error of ours, not a NaN and a warning."""
    if row.name in ("reshape", "broadcast_to"):
        pytest.skip("its keywords say a size")
    with pytest.raises(MinigenError, match=r"no elements|more than|at least") as caught:
        called(row, Tensor(np.zeros((0,) * max(len(row.inputs[0].shape), 1))))
    assert not _foreign(caught.value), caught.value


def test_the_active_backend_is_numpy_again():
    assert active().name == "numpy"
