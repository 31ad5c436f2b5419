"""The checker on the engine's side: ops, functions of Tensors, Modules, second order, and the diagnosis."""

import json

import numpy as np
import pytest

import minigen
from minigen import Tensor, fused, grad, gradcheck, nn, no_grad, op, ops
from minigen.errors import DTypeError, MinigenError
from minigen.gradcheck import GradcheckError, Report


def failure(f, *inputs, **options):
    """The text of the error that a check must raise."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(f, *inputs, **options)
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, MinigenError)
    assert not caught.value.report.ok
    return str(caught.value)


def broken(forward, *rules):
    """An op with these rules, (g, y, *args) -> gradient, one per argument."""
    made = op(forward)
    made.vjp(lambda g, y, *args: tuple(lambda rule=rule: rule(g, y, *args) for rule in rules))
    return made


half = broken(lambda a, b: a * b, lambda g, y, a, b: g * b, lambda g, y, a, b: 0.5 * g * a)


# What can be checked


def test_a_function_of_tensors(rng):
    report = gradcheck(lambda x, W: ops.tanh(x @ W).sum(), rng.normal(size=(3, 4)), rng.normal(size=(4, 2)))
    assert report
    assert report.compared == 20
    assert [v.name for v in report.variables] == ["x", "W"]


def test_an_op_by_itself(rng):
    assert gradcheck(ops.matmul, rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), order=2)


def test_a_module_and_its_parameters_by_dotted_name(rng):
    net = nn.Sequential(nn.Dense(4, 3, rng=rng), nn.Tanh(), nn.Dense(3, 2, rng=rng))
    report = gradcheck(net, rng.normal(size=(5, 4)))
    assert [v.name for v in report.variables] == ["x", "layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b"]


def test_some_parameters_of_a_module(rng):
    net = nn.Sequential(nn.Dense(4, 3, rng=rng))
    assert [v.name for v in gradcheck(net, rng.normal(size=(5, 4)), params=["layers.0.b"]).variables] == [
        "x",
        "layers.0.b",
    ]
    with pytest.raises(MinigenError, match=r"no parameter 'bias': there are layers\.0\.W, layers\.0\.b"):
        gradcheck(net, rng.normal(size=(5, 4)), params="bias")


def test_a_method_of_a_module(rng):
    class Model(nn.Module):
        def __init__(self):
            self.w = Tensor(rng.normal(size=3), requires_grad=True)

        def loss(self, x):
            return ((x * self.w) ** 2).sum()

    assert [v.name for v in gradcheck(Model().loss, rng.normal(size=3)).variables] == ["x", "w"]


def test_more_parameters_as_a_module_a_dict_or_a_list(rng):
    net, w = nn.Dense(4, 3, rng=rng), Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = rng.normal(size=(2, 4))
    assert [v.name for v in gradcheck(lambda x: net(x), x, params=net).variables] == ["x", "W", "b"]
    report = gradcheck(lambda x: net(x) * w, x, params={"net": net, "scale": w})
    assert [v.name for v in report.variables] == ["x", "net.W", "net.b", "scale"]
    assert gradcheck(lambda: (w * w).sum(), params=[w]).compared == 3


def test_integer_inputs_are_passed_on(rng):
    labels = np.array([0, 2, 1])
    report = gradcheck(
        lambda logits, labels: ops.cross_entropy(logits, labels=labels), rng.normal(size=(3, 4)), labels
    )
    assert [v.name for v in report.variables] == ["logits"]


def test_tensors_that_require_no_gradient_are_held_fixed_beside_some_that_do(rng):
    x, t = Tensor(rng.normal(size=4), requires_grad=True), Tensor(rng.normal(size=4))
    assert [v.name for v in gradcheck(ops.squared_error, x, t).variables] == ["x"]
    assert [v.name for v in gradcheck(ops.squared_error, Tensor(x.numpy()), t).variables] == ["x", "target"]


@pytest.mark.parametrize("x", [2.0, np.float32(2), np.array(2.0), [1.0, 2.0], np.ones((2, 1, 3), np.float32)])
def test_numbers_lists_and_float32_become_float64(x):
    seen = []
    gradcheck(lambda x: seen.append(x.dtype) or ops.exp(x), x)
    assert set(seen) == {np.dtype("float64")}


def test_tuples_of_outputs_each_get_an_upstream_gradient(rng):
    assert gradcheck(lambda x: (ops.sin(x), (x.sum(), x.argmax())), rng.normal(size=3), order=2)
    said = failure(lambda x: (ops.sin(x), half(x, x)), rng.normal(size=3))
    assert "first wrong operation, going backwards: " in said


def test_a_penalty_on_an_input_gradient(rng):
    critic = nn.Sequential(nn.Dense(4, 8, rng=rng), nn.Tanh(), nn.Dense(8, 1, rng=rng))

    def penalty(x):
        g = grad(critic(x).sum(), x, create_graph=True)
        return ((ops.safe_norm(g, axis=1) - 1.0) ** 2).mean()

    assert gradcheck(penalty, rng.normal(size=(3, 4)), params=critic)


def test_a_large_parameter_is_sampled_and_the_rest_projected(rng):
    report = gradcheck(
        lambda x, W: ops.tanh(x @ W), rng.normal(size=(2, 90)), 0.1 * rng.normal(size=(90, 70))
    )
    assert report.variables[1].compared < 500
    assert report.variables[1].projections > 0
    assert report.skipped == 0


def test_one_wrong_entry_of_a_large_parameter_is_hunted_down(rng):
    def rule(g, y, x):
        gx = g * 2.0 * x
        gx[17, 23] *= 1.001
        return gx

    said = failure(broken(lambda x: x * x, rule), rng.normal(size=(150, 140)))
    assert "worst at [17, 23]" in said
    assert "a single entry is wrong" in said


# What must be as it was


def test_parameters_are_float64_inside_and_back_as_they_were_outside(rng):
    net = nn.Dense(4, 3, rng=rng)
    net.b.require_grad(False)
    net.W.grad = np.ones((4, 3), np.float32)
    before = {name: t._data for name, t in (("W", net.W), ("b", net.b))}
    kept = net.W._data.copy()
    dtypes = []
    gradcheck(lambda x: dtypes.append(net.W.dtype) or net(x), rng.normal(size=(2, 4)), params=net)
    assert set(dtypes) == {np.dtype("float64")}
    assert net.W._data is before["W"]
    assert net.b._data is before["b"]
    assert (net.W._data == kept).all()
    assert net.W.dtype == np.float32
    assert (net.W.requires_grad, net.b.requires_grad) == (True, False)
    assert (net.W.grad == 1).all()


def test_parameters_are_back_even_after_an_exception(rng):
    net = nn.Dense(4, 3, rng=rng)
    kept, calls = net.W._data, []

    def f(x):
        calls.append(x)
        if len(calls) == 5:
            raise ZeroDivisionError("mine")
        return net(x)

    with pytest.raises(ZeroDivisionError, match="mine"):
        gradcheck(f, rng.normal(size=(2, 4)), params=net)
    assert net.W._data is kept


def test_buffers_attributes_and_generators_are_put_back(rng):
    class Model(nn.Module):
        def __init__(self):
            self.norm, self.steps, self.rng = nn.BatchNorm(3), 0, np.random.default_rng(1)

        def __call__(self, x):
            self.steps += 1
            self.rng.random()
            return self.norm(x)

    model = Model()
    mean, stream = model.norm.running_mean.numpy(), np.random.default_rng(1).random()
    assert gradcheck(model, 5 + rng.normal(size=(6, 3)))
    assert (model.norm.running_mean.numpy() == mean).all()
    assert model.norm.running_mean.dtype == np.float32
    assert model.steps == 0
    assert model.rng.random() == stream


def test_a_pending_backward_pass_still_works_after_a_check(rng):
    net = nn.Dense(4, 3, rng=rng)
    y = ops.tanh(net(Tensor(rng.normal(size=(2, 4)))))
    gradcheck(net, rng.normal(size=(2, 4)))
    y.backward(np.ones((2, 3)))
    assert net.W.grad.shape == (4, 3)


# What must be flagged, one clear line each


@pytest.mark.parametrize(
    ("f", "inputs", "says"),
    [
        (lambda x: x.detach() * 2.0, (np.ones(3),), "cut from the graph"),
        (lambda x: Tensor(x.data * 2), (np.ones(3),), "cut from the graph"),
        (no_grad()(lambda x: x * 2.0), (np.ones(3),), "cut from the graph"),
        (lambda x: x.numpy() * 2, (np.ones(3),), "an array and no Tensor"),
        (lambda x: x.sum().item(), (np.ones(3),), "an array and no Tensor"),
        (lambda x: None, (np.ones(3),), "returned nothing"),
        (lambda x: {"y": x}, (np.ones(3),), "returned a dict"),
        (lambda x: x.astype("int64"), (np.ones(3),), "integers have no gradient"),
        (lambda x: x.astype("float32"), (np.ones(3),), "float32"),
        (lambda x: x * 2.0, (np.arange(3),), "x is int64; only floats have gradients"),
        (lambda: Tensor(1.0), (), "no inputs and no parameters"),
        (lambda x: x * 2.0, (np.ones((0, 3)),), "x is empty"),
        (lambda x: x[:0], (np.ones(3),), "returned an empty array"),
        (lambda x: ops.log(x), (-np.ones(3),), "log made the first NaN"),
        (lambda x: ops.sqrt(x), (np.array([0.0, 1.0]),), "sqrt made the first infinity"),
        (lambda x: x * np.random.default_rng().random(3), (np.ones(3),), "not deterministic"),
        (lambda x: x.data.__iadd__(1.0) is None or x * 2.0, (np.ones(3),), "changed its input x in place"),
        (nn.Dropout(0.5, rng=np.random.default_rng(0)), (np.ones(30),), "call .eval()"),
        (ops.relu, (np.zeros(3),), "nothing could be compared"),
        (ops.maximum, (np.ones(3), np.ones(3)), "nothing could be compared"),
    ],
)  # fmt: skip
def test_one_clear_line(f, inputs, says):
    assert says in failure(f, *inputs).splitlines()[0]


def test_dropout_is_found_even_with_a_single_unit(rng):
    for _ in range(10):
        net = nn.Sequential(nn.Dense(4, 1, rng=rng), nn.Dropout(0.5, rng=rng))
        failure(net, rng.normal(size=(1, 4)))


def test_the_mode_outside_does_not_matter(rng):
    with no_grad():
        assert gradcheck(ops.tanh, rng.normal(size=3), order=2)


def test_a_kink_is_counted_neither_failed_nor_passed():
    report = gradcheck(ops.relu, np.array([0.0, 1.0, -1.0]))
    assert (report.compared, report.skipped, report.variables[0].kinks) == (2, 1, 1)
    assert "1 skipped: a kink" in str(report)


def test_a_variable_that_f_does_not_use_has_gradient_zero(rng):
    report = gradcheck(lambda x, y: x * 2.0, rng.normal(size=3), rng.normal(size=3))
    assert report.notes == ["f does not depend on y"]


def test_usage_errors_are_one_line_each():
    with pytest.raises(MinigenError, match="order must be 1 or 2, got 3"):
        gradcheck(ops.relu, np.ones(3), order=3)
    with pytest.raises(DTypeError, match="must be a function, an op or a Module, got a int"):
        gradcheck(3, np.ones(3))
    with pytest.raises(DTypeError, match="complex128: only real numbers"):
        gradcheck(ops.relu, np.ones(3, complex))
    with pytest.raises(MinigenError, match="order=2 needs the recorded graph"):
        gradcheck(lambda x: x.sum(), np.ones(3), grad=lambda x: 0 * x + 1, order=2)


def test_errors_of_f_itself_pass_through():
    with pytest.raises(minigen.errors.ShapeError, match="matmul"):
        gradcheck(ops.matmul, np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(NotImplementedError):
        gradcheck(
            broken(lambda x: x * 2, lambda g, y, x: (_ for _ in ()).throw(NotImplementedError)), np.ones(2)
        )


# The diagnosis


def test_the_first_wrong_operation_is_named(rng):
    said = failure(lambda x, b: ops.tanh(half(x, b) + x).sum(), rng.normal(size=(3, 4)), rng.normal(size=4))
    assert "the gradient of b is wrong" in said
    assert "<lambda>(a (3, 4), b (4,)): its gradient for b is wrong" in said
    assert "1/2 of the numeric gradient everywhere" in said


def test_an_error_outside_the_graph_is_called_that(rng):
    def f(x):
        scale = Tensor(x.data.mean())  # a constant to the graph, but not to f
        return x * scale

    said = failure(f, rng.normal(size=(3, 4)))
    assert "every operation in the graph" in said
    assert "outside the recorded graph" in said


def test_a_cut_input_is_called_cut(rng):
    said = failure(lambda x, y: x * y.detach(), rng.normal(size=3), rng.normal(size=3))
    assert "no graph leads from the output to y" in said


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (lambda g, y, x: g.sum(), "its rule gives an array () for x (3, 4)"),
        (lambda g, y, x: (2.0 * g).T, "it is transposed"),
        (lambda g, y, x: None, "the graph is cut here"),
        (lambda g, y, x: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda g, y, x: -2.0 * g, "the sign is wrong"),
        (lambda g, y, x: 2.0 + 0 * g, "upstream"),
        (lambda g, y, x: g * np.inf, "infinity"),
        (lambda g, y, x: g * np.nan, "NaN"),
    ],
)
def test_wrong_rules_are_named(rule, says, rng):
    assert says in failure(broken(lambda x: 2.0 * x, rule), rng.normal(size=(3, 4)))


def test_a_rule_with_too_few_thunks(rng):
    made = op(lambda a, b: a * b)
    made.vjp(lambda g, y, a, b: lambda: g * b)
    assert "returns 1 functions for 2 arguments" in failure(made, rng.normal(size=3), rng.normal(size=3))


def test_an_op_without_a_rule(rng):
    assert "no gradient rule" in failure(op(lambda x: x * 2), rng.normal(size=3))


def test_a_rule_that_is_right_only_at_first_order(rng):
    cube = broken(
        lambda x: x**3,
        lambda g, y, x: g * Tensor(3 * getattr(x, "data", x) ** 2) if isinstance(g, Tensor) else g * 3 * x**2,
    )
    x = rng.normal(size=4)
    assert gradcheck(cube, x)
    said = failure(cube, x, order=2)
    assert "(second order)" in said
    assert "not the right gradient of the gradient" in said


def test_a_fused_op_whose_twin_differs(rng):
    @fused
    def double(x):
        return 2.0 * x * x, x

    double.vjp(lambda g, saved, x: lambda: 4.0 * g * saved)
    double.as_twin(lambda x: x * x)
    assert gradcheck(double, rng.normal(size=3))
    assert "(second order)" in failure(double, rng.normal(size=3), order=2)


def test_a_fused_op_that_spoils_what_it_saved(rng):
    @fused
    def double(x):
        return 2.0 * x * x, x.copy()

    def rule(g, saved, x):
        def thunk():
            saved.__imul__(4.0)
            return g * saved

        return thunk

    double.vjp(rule)
    assert "not the same twice" in failure(double, rng.normal(size=3))


def test_a_softmax_with_its_diagonal_only(rng):
    rule = lambda g, y, x: g * y * (1.0 - y)  # noqa: E731
    assert "by its own input only" in failure(broken(ops.softmax.forward, rule), rng.normal(size=(2, 4)))


# The report


def test_a_seed_repeats_a_check(rng):
    first, second = (failure(half, np.ones(3), np.arange(3.0), rng=7) for _ in range(2))
    assert first == second
    assert "repeat with rng=7" in first


def test_the_report_is_for_people_and_for_programs(rng):
    report = gradcheck(half, np.ones(3), np.arange(1.0, 4.0), raise_on_failure=False, rng=3, name="mine")
    assert isinstance(report, Report)
    assert not report
    told = json.loads(json.dumps(report.to_dict()))
    assert (told["name"], told["ok"], told["seed"], told["wrong"]) == ("mine", False, 3, 3)
    wrong = told["variables"][1]
    assert (wrong["name"], wrong["shape"], wrong["wrong"]) == ("b", [3], 3)
    assert wrong["worst"]["relative"] == pytest.approx(0.5)
    assert "1/2" in wrong["cause"]


def test_gradcheck_is_the_function_and_the_module_beside_it():
    from minigen.gradcheck import gradcheck as same

    assert minigen.gradcheck is same


# Bends and edges: C1 functions are judged as close to the bend as it takes


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x * ops.abs(x), [0.0]),
        (lambda x: x * ops.abs(x), [0.0, 1.0, -2.0]),
        (lambda x: x * ops.abs(x), [1e-3, -1e-4]),
        (lambda x: ops.square(ops.relu(x)), [0.0]),
        (lambda x: ops.relu(x) ** 3 - x, [0.0, 1e-6]),
        (ops.elu, [0.0, 1e-5]),
        (ops.log, [1e-12]),
        (ops.log, [1e-20, 1e-6, 1.0]),
        (ops.sqrt, [1e-12]),
        (lambda x: 1.0 / x, [1e-9]),
    ],
)
def test_a_slope_is_found_beside_a_bend_or_an_edge(f, x):
    report = gradcheck(f, np.array(x))
    assert (report.compared, report.skipped) == (len(x), 0), str(report)


@pytest.mark.parametrize(
    ("forward", "rule", "x"),
    [
        (lambda x: np.log(x), lambda g, y, x: g / (x + 1e-13), 1e-12),
        (lambda x: np.log(x), lambda g, y, x: g / (x * (1 + 1e-5)), 1e-20),
        (lambda x: np.sqrt(x), lambda g, y, x: g / y, 1e-12),
        (lambda x: 1 / x, lambda g, y, x: g / x**2, 1e-9),
        (lambda x: x * abs(x), lambda g, y, x: g * (2 * abs(x) + 1e-6), 0.0),
        (lambda x: x * abs(x), lambda g, y, x: g * abs(x), 1e-3),
        (lambda x: np.maximum(x, 0) ** 2, lambda g, y, x: g + 0 * x, 0.0),
    ],
)
def test_an_error_is_seen_beside_a_bend_or_an_edge(forward, rule, x):
    assert "is wrong" in failure(broken(forward, rule), np.array([x]))


# A rule that writes into what it is given


def writes(g, y, x):
    g *= 2.0 * x
    return g


def test_a_rule_that_writes_into_the_upstream_gradient_is_refused(rng):
    square, x = broken(lambda x: x * x, writes), rng.normal(size=(3, 4))
    says = "its rule writes into the upstream gradient g in place when asked for the gradient of x"
    assert says in failure(square, x).splitlines()[0]
    assert f"<lambda>(x (3, 4)): {says}" in failure(lambda x: ops.tanh(square(ops.sin(x))).sum(), x)
    net = nn.Sequential(nn.Dense(4, 3, rng=rng), square)
    assert says in failure(net, x)


def test_a_rule_that_spoils_the_gradient_of_a_neighbour_is_told_why(rng):
    product = broken(lambda a, b: a * b, lambda g, y, a, b: g.__imul__(b), lambda g, y, a, b: g * a)
    said = failure(product, rng.normal(size=3), rng.normal(size=3))
    assert "its rule writes into the upstream gradient g in place when asked for the gradient of a" in said


def test_a_rule_may_return_the_upstream_gradient_itself(rng):
    same = broken(lambda a, b: a + b, lambda g, y, a, b: g, lambda g, y, a, b: g)
    assert gradcheck(lambda x: same(x, same(x, x * x)), rng.normal(size=(2, 3)), order=2)
