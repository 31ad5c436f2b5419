"""Lesson e05: its functions equal the engine's operations, and train in their place."""

import numpy as np
import pytest
from backends import ACCELERATED, each_backend
from nn_helpers import close
from test_conv import draw, extra_of

from minigen import Tensor, grad, nn, ops
from minigen.backend import from_host, to_host, using
from minigen.course import plug
from minigen.course.manifest import course
from minigen.course.plugs import Part
from minigen.data import load
from minigen.data.sets import Dataset, Split
from minigen.ops.norm import batch_norm
from minigen.training import train
from solutions import e05_conv as e05

DRAWS = 15


def plugged(*holes):
    """The lesson's own functions in the engine, as `--mine` puts a learner's there"""
    lesson = course().lesson("e05")

    def find(hole):
        found = e05
        for name in hole.split("."):
            found = vars(found)[name]
        return found

    chosen = {hole: target for hole, target in lesson.plugs.items() if not holes or hole in holes}
    return plug([Part(lesson, hole, target, lesson.solution, find(hole)) for hole, target in chosen.items()])


# The two versions


@each_backend
def test_convolutions_equal_the_engine(rng, backend):
    with using(backend):
        for _ in range(DRAWS if backend == "numpy" else 3):
            x, w, b, how = draw(rng)
            x, w, b = (
                from_host(a) for a in (x[:2] if len(x) else rng.standard_normal((1, *x.shape[1:])), w, b)
            )
            y, kernel = ops.conv2d(x, w, b, **how), tuple(w.shape[2:])
            close(e05.conv2d(x, w, b, **how), y, 1e-10, 1e-10, f"conv2d {how}")
            g = from_host(rng.standard_normal(y.shape))
            extra = extra_of(x, w, how)
            mine = e05.conv_transpose2d(g, w, output_padding=extra, **how)
            close(
                mine,
                ops.conv_transpose2d(g, w, output_padding=extra, **how),
                1e-10,
                1e-10,
                f"transposed {how}",
            )
            mine = e05.conv2d_weight(x, g, kernel=kernel, **how)
            close(mine, ops.conv2d_weight(x, g, kernel=kernel, **how), 1e-10, 1e-10, f"weight {how}")
            for one, other in zip(
                e05.conv2d_vjp(g, y, x, w, b, **how), ops.conv2d.rule(g, y, x, w, b, **how), strict=True
            ):
                close(one(), other(), 1e-10, 1e-10, f"rule {how}")
            del how["taps"]
            columns = ops.unfold(x, kernel=kernel, fill=0.5, **how)
            close(e05.unfold(x, kernel=kernel, fill=0.5, **how), columns, 0, 0, f"unfold {how}")
            how |= {"kernel": kernel, "size": tuple(x.shape[2:])}
            close(e05.fold(columns, **how), ops.fold(columns, **how), 1e-12, 1e-12, f"fold {how}")


@each_backend
def test_pooling_and_norms_equal_the_engine(rng, backend):
    with using(backend):
        for _ in range(5):
            x = from_host(rng.integers(-3, 3, (2, 3, *rng.integers(4, 8, 2))).astype(float))  # with ties
            how = {
                "kernel": (3, 2),
                "stride": (int(rng.integers(1, 4)), 2),
                "padding": (1, int(rng.integers(0, 2))),
            }
            y = ops.max_pool2d(x, **how)
            close(e05.max_pool2d(x, **how), y, 0, 0)
            g = from_host(rng.standard_normal(y.shape))
            mine, other = e05.max_pool2d_vjp(g, y, x, **how), ops.max_pool2d.rule(g, y, x, **how)
            close(mine(), other(), 1e-12, 1e-12, f"{how}")
            gamma, beta = (from_host(rng.standard_normal(3)) for _ in range(2))
            x = from_host(rng.standard_normal((2, 3, *rng.integers(2, 8, 2))))
            (mine, one), (theirs, other) = (f.forward(x, gamma, beta) for f in (e05.batch_norm, batch_norm))
            for a, b in zip((mine, *one), (theirs, *other), strict=True):
                close(a, b, 1e-9, 1e-12, "batch_norm, and what it saves")
            g = from_host(rng.standard_normal(x.shape))
            rules = e05.batch_norm_vjp(g, one, x, gamma, beta), batch_norm.rule(g, other, x, gamma, beta)
            for a, b in zip(*rules, strict=True):
                close(a(), b(), 1e-9, 1e-12, "batch_norm's rule")


@pytest.mark.parametrize("backend", ["numpy", *ACCELERATED])
def test_the_autoencoder_trains_on_both_versions_alike(backend):
    def three_steps(layers):
        model = e05.ConvAutoencoder(rng=np.random.default_rng(1), layers=layers, lr=1e-3)
        images, losses = from_host(np.random.default_rng(2).random((4, 28, 28), np.float32)), []
        for _ in range(3):
            ((module, loss),) = model.updates(images, None)
            module.optimizers()[""].step(grad(loss, module.parameters()))
            losses.append(loss.item())
        return losses, model.eval()(images).numpy(), model.state_dict()

    with using(backend):
        mine, theirs = three_steps(None), three_steps(nn)
        with plugged():
            swapped = three_steps(nn)
    for found in (mine, swapped):
        close(found[0], theirs[0], 1e-4)
        close(found[1], theirs[1], 0, 1e-2)
        assert list(found[2]) == list(theirs[2])


# In the engine's place


def test_a_run_of_the_engine_on_the_lessons_parts():
    data = load()
    few = Dataset(
        "few",
        Split(data.train.images[:60], data.train.labels[:60]),
        Split(data.test.images[:20], data.test.labels[:20]),
    )

    def run():
        model = e05.ConvAutoencoder(rng=np.random.default_rng(0), layers=nn, lr=1e-3)
        return [
            row["test_squared_error"] for row in train(model, few, epochs=2, batch_size=20, seed=0).history
        ]

    before = ops.conv2d.forward, ops.conv2d.rule, nn.BatchNorm.__call__
    theirs = run()
    with plugged() as parts:
        assert len(parts) == len(course().lesson("e05").plugs)
        assert ops.conv2d.forward is e05.conv2d.forward
        assert ops.conv2d.rule is e05.conv2d_vjp
        mine = run()
    assert (ops.conv2d.forward, ops.conv2d.rule, nn.BatchNorm.__call__) == before
    close(mine, theirs, 2e-3)
    assert mine != theirs, "not one bit is different: was the engine's own used?"


def test_half_an_op_is_plugged_and_the_other_half_stays():
    rule, uses = ops.conv2d.rule, ops.conv2d.uses
    with plugged("conv2d"):
        assert ops.conv2d.forward is e05.conv2d.forward
        assert (ops.conv2d.rule, ops.conv2d.uses) == (rule, uses)
    forward = batch_norm.forward
    with plugged("batch_norm_vjp"):
        assert batch_norm.rule is e05.batch_norm_vjp
        assert batch_norm.forward is forward
        assert batch_norm.twin is not None


def test_gradients_of_gradients_through_the_lessons_parts(rng):
    """A gradient penalty of a small critic, differentiated for its weights: as with the engine's own"""
    critic = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, rng=rng), nn.BatchNorm(3), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 4, stride=2, padding=1, rng=rng), nn.Flatten(), nn.Dense(8, 1, rng=rng),
    )  # fmt: skip
    images = rng.standard_normal((3, 1, 8, 8)).astype(np.float32)

    def slopes():
        x = Tensor(images, requires_grad=True)
        (g,) = grad(critic(x).sum(), [x], create_graph=True)
        return grad(ops.sum(ops.square(g)), critic.parameters(), allow_unused=True)

    theirs = slopes()
    with plugged():
        mine = slopes()
    for one, other in zip(mine, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            close(to_host(one), to_host(other), 1e-3, 1e-4)
