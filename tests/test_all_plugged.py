"""All solutions in the engine at once: the models train as on the engine's own parts."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from minigen import grad
from minigen.course.manifest import course
from minigen.course.plugs import mine, plug
from solutions import e13_vae as e13
from solutions import e15_gan as e15

STEPS = 6
MODELS = {
    "vae": (e13.VAE, e13.Config(hidden=(30,), code=5)),
    "convolutional vae": (e13.VAE, e13.Config(hidden=(), channels=(4, 6), code=5)),
    "gan": (e15.GAN, e15.Config(channels=(6, 4), z=8)),
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Every hole that the engine has a place for, from exercises in which every hole holds its solution"""
    root = tmp_path_factory.mktemp("all")
    for folder in ("solutions", "exercises"):
        (root / folder).mkdir()
        for lesson in course().lessons:
            shutil.copy(lesson.solution, root / folder)
    return mine(root=root)


def curve(kind, config):
    """The losses of some steps, each module's as it comes"""
    rng = np.random.default_rng(5)
    model = kind(config, rng=rng)
    optimizers, losses = model.optimizers(), []
    names = {id(module): name for name, module in [("", model), *vars(model).items()]}
    for _ in range(STEPS):
        batch = model.prepare((rng.random((12, 28, 28)) < 0.3).astype(np.float32), rng)
        for module, loss in model.updates(batch, rng):
            optimizers[names[id(module)]].step(grad(loss, module.parameters()))
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", MODELS)
def test_the_models_train_as_on_the_engine(name, parts):
    assert len(parts) > 60
    assert all(part.mine for part in parts)
    kind, config = MODELS[name]
    own = curve(kind, config)
    with plug(parts) as swapped:
        assert {part.lesson.short for part in swapped} >= {"e02", "e03", "e05", "e13", "e15"}
        plugged = curve(kind, config)
    assert len(own) == STEPS * (2 if "gan" in name else 1)
    assert np.allclose(plugged, own, rtol=1e-4)  # sums are taken in another order
    assert Path(parts[0].path).parent.name == "exercises"
