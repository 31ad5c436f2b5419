"""The loop: who is stepped by what, exact resume from anywhere, divergence, Ctrl-C, and what a run leaves behind."""

import json
import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest
from strict import STRICT

from minigen import checkpoint, ops
from minigen.backend import from_host, to_host, using
from minigen.data import Dataset, Split
from minigen.errors import CheckpointError, DivergenceError, GraphError
from minigen.nn import BatchNorm, Dense, LeakyReLU, Module, ReLU, Sequential
from minigen.optim import SGD, Adam, RMSProp
from minigen.tensor import Tensor
from minigen.training import Interrupted, evaluate, streams, train
from minigen.training.progress import Silent
from solutions import e07_autoencoder as e07

CONFIG = e07.Config(pixels=36, hidden=(8,), code=3)


@pytest.fixture
def data(rng):
    def split(n):
        return Split(rng.integers(0, 256, (n, 6, 6), dtype=np.uint8), np.zeros(n, np.uint8))

    return Dataset("toy", split(50), split(20))


@dataclass(frozen=True)
class PlayersConfig:
    size: int = 5


class Players(Module):
    """Two modules with losses of their own, noise from the loop, and a stream of its own in a part."""

    def __init__(self, config, *, rng):
        self.config = config
        self.left, self.right = Dense(36, config.size, rng=rng), Dense(config.size, 36, rng=rng)
        self.own = np.random.default_rng(rng.integers(2**31))

    def updates(self, batch, rng):
        x = batch.reshape(len(batch), 36)
        noise = from_host(rng.standard_normal((len(x), 5)).astype(np.float32))
        yield self.left, ops.mean((self.left(x) - noise) ** 2)
        keep = from_host((self.own.random((len(x), 5)) < 0.7).astype(np.float32))
        yield self.right, ops.mean((self.right(self.left(x).detach() * keep) - x) ** 2)

    def optimizers(self):
        return {"left": Adam(self.left.parameters(), 1e-2), "right": SGD(self.right.parameters(), 0.1, 0.9)}

    def evaluate(self, images, rng):
        return {"left": float(ops.mean(self.left(images.reshape(len(images), 36)) ** 2))}


class Rivals(Module):
    """Two pairs for each batch, as a GAN has: BatchNorm in both, a batch drawn at random, evaluation with noise."""

    def __init__(self, config, *, rng):
        self.config = config
        self.critic = Sequential(Dense(36, 8, rng=rng), BatchNorm(8), LeakyReLU(0.2), Dense(8, 1, rng=rng))
        self.generator = Sequential(
            Dense(config.size, 8, rng=rng), BatchNorm(8), ReLU(), Dense(8, 36, rng=rng)
        )
        self.given = []

    def prepare(self, images, rng):
        drawn = from_host(rng.random(images.shape, dtype=np.float32))
        batch = (drawn < images).astype(images.dtype)
        self.given += [(self.training, np.asarray(to_host(batch)))]
        return batch

    def draw(self, n, rng):
        z = from_host(rng.standard_normal((n, self.config.size)).astype(np.float32))
        return ops.sigmoid(self.generator(z))

    def updates(self, batch, rng):
        x = batch.reshape(len(batch), 36)
        real, fake = self.critic(x), self.critic(self.draw(len(x), rng).detach())
        yield self.critic, ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
        yield self.generator, ops.mean(ops.softplus(-self.critic(self.draw(len(x), rng))))

    def optimizers(self):
        return {
            "critic": Adam(self.critic.parameters(), 1e-2, beta1=0.5),
            "generator": RMSProp(self.generator.parameters(), 1e-3),
        }

    def evaluate(self, images, rng):
        x = images.reshape(len(images), 36)
        return {"real": float(ops.mean(self.critic(x))), "ink": float(ops.mean(self.draw(len(x), rng)))}


def rivals(seed=3):
    return Rivals(PlayersConfig(), rng=streams(seed).init)


def autoencoder(seed=3):
    return e07.Autoencoder(CONFIG, rng=streams(seed).init)


def players(seed=3):
    return Players(PlayersConfig(), rng=streams(seed).init)


def run(model, data, folder=None, **changes):
    settings = {"epochs": 3, "batch_size": 16, "seed": 3, "save_seconds": 1e9} | changes
    return train(model, data, run_dir=folder, **settings)


class Killed(BaseException):
    """As sudden as SIGKILL: nothing handles it, nothing is saved on its way out."""


class KillAt(Silent):
    def __init__(self, at, action=None):
        self.at, self.count, self.action = at, 0, action

    def step(self, epoch, losses):
        self.count += 1
        if self.count == self.at:
            if self.action is None:
                raise Killed
            self.action()


def everything(folder):
    """The checkpoint and metrics of a run, without what a clock wrote."""
    arrays, meta = checkpoint.load(folder / "checkpoint.npz")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert meta["history"] == lines
    for row in (*lines, *meta["history"], meta):
        row.pop("seconds")
    return arrays, meta, lines


def same(one, other):
    assert one[1:] == other[1:]
    assert list(one[0]) == list(other[0])
    assert [n for n in one[0] if one[0][n].tobytes() != other[0][n].tobytes()] == []


@pytest.mark.parametrize("make", [autoencoder, players, rivals])
def test_resume_is_bit_identical_from_random_kills(make, data, rng, tmp_path):
    run(make(), data, tmp_path / "whole")
    whole = everything(tmp_path / "whole")
    steps = whole[1]["step"]
    for number in range(6):
        folder = tmp_path / f"killed{number}"
        every = int(rng.integers(1, 6))
        first = int(rng.integers(1, steps + 1))
        with pytest.raises(Killed):
            run(make(), data, folder, save_steps=every, progress=KillAt(first))
        second = int(rng.integers(1, max(2, steps - first)))
        try:  # and once more, in the resumed run
            run(make(), data, folder, save_steps=every, resume=True, progress=KillAt(second))
        except Killed:
            run(make(), data, folder, save_steps=every, resume=True)
        same(everything(folder), whole)


def test_resume_of_a_finished_run_changes_nothing(data, tmp_path):
    run(autoencoder(), data, tmp_path / "run")
    before = everything(tmp_path / "run")
    result = run(autoencoder(), data, tmp_path / "run", resume=True)
    assert len(result.history) == 3
    same(everything(tmp_path / "run"), before)


def test_saving_often_or_never_gives_the_same_numbers(data, tmp_path):
    one, other = autoencoder(), autoencoder()
    run(one, data, tmp_path / "often", save_steps=1)
    run(other, data)
    for name, array in one.state_dict().items():
        assert array.tobytes() == other.state_dict()[name].tobytes(), name


def test_ctrl_c_finishes_the_step_and_saves(data, tmp_path):
    folder = tmp_path / "run"
    interrupt = KillAt(6, lambda: os.kill(os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as stop:
        run(autoencoder(), data, folder, progress=interrupt)
    assert stop.value.step == 6
    assert str(folder) in str(stop.value)
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.load(folder / "checkpoint.npz")[1]["step"] == 6
    run(autoencoder(), data, folder, resume=True)
    run(autoencoder(), data, tmp_path / "whole")
    same(everything(folder), everything(tmp_path / "whole"))


def test_a_second_ctrl_c_does_not_wait(data, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        run(autoencoder(), data, tmp_path / "run", progress=KillAt(6, twice))
    assert not isinstance(stop.value, Interrupted)
    assert checkpoint.load(tmp_path / "run" / "checkpoint.npz")[1]["step"] == 4  # the last epoch's end


class Diverging(e07.Autoencoder):
    """Its 6th loss (or the gradient of it) is not finite."""

    how = "loss"
    count = 0

    def updates(self, batch, rng):
        self.count += 1
        for module, loss in super().updates(batch, rng):
            if self.count == 6:
                weight = module.parameters()[0]
                bad = {
                    "loss": loss * float("nan"),
                    "infinite": loss + Tensor(np.float32(np.inf)),
                    "gradient": loss + ops.sum(ops.sqrt(weight * 0.0)),
                }
                loss = bad[self.how]
            yield module, loss


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("how", ["loss", "infinite", "gradient"])
def test_divergence_stops_in_that_step_and_keeps_the_last_good_state(how, data, tmp_path):
    model = Diverging(CONFIG, rng=streams(3).init)
    model.how = how
    with pytest.raises(DivergenceError) as caught:
        run(model, data, tmp_path / "run", save_steps=5)
    assert "step 6 of 12" in str(caught.value)
    assert str(tmp_path / "run" / "checkpoint.npz") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert model.count == 6
    assert all(np.isfinite(array).all() for array in model.state_dict().values())
    assert checkpoint.load(tmp_path / "run" / "checkpoint.npz")[1]["step"] == 5


def test_a_state_that_is_not_finite_is_never_saved(data, tmp_path):
    model = autoencoder()

    def poison():
        weights = model.parameters()[0].numpy()
        weights[0, 0] = np.nan
        model.parameters()[0].data = weights

    with pytest.raises(DivergenceError, match="not finite"):
        run(model, data, tmp_path / "run", progress=KillAt(5, poison), save_steps=5)
    arrays, meta = checkpoint.load(tmp_path / "run" / "checkpoint.npz")
    assert meta["step"] == 4
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_each_module_is_stepped_by_its_own_loss_only(data):
    class Spy(Players):
        seen = ()

        def updates(self, batch, rng):
            for module, loss in super().updates(batch, rng):
                before = self.state_dict()
                yield module, loss
                after = self.state_dict()
                self.seen += ({name.split(".")[0] for name in before if (before[name] != after[name]).any()},)

    model = Spy(PlayersConfig(), rng=streams(0).init)
    result = run(model, data, epochs=1)
    assert model.seen == ({"left"}, {"right"}) * 4
    assert {"train_left_loss", "train_right_loss", "test_left"} <= set(result.history[0])


def test_metrics_are_what_they_say(data):
    model = autoencoder()
    losses = []

    class Record(Silent):
        def step(self, epoch, found):
            losses.append(found["loss"])

    history = run(model, data, progress=Record()).history
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 4), (2, 8), (3, 12)]
    sizes = np.array([16, 16, 16, 2])
    for n, row in enumerate(history):
        assert row["train_loss"] == pytest.approx((losses[4 * n : 4 * n + 4] * sizes).sum() / 50)
    x = data.test.images.reshape(20, 36) / np.float32(255)
    error = np.square(model(x).detach().numpy() - x).sum(axis=1).mean()
    assert history[-1]["test_squared_error"] == pytest.approx(error, rel=1e-5)


def test_schedule_and_clipping_reach_the_optimizer(data):
    class Watched(e07.Autoencoder):
        def optimizers(self):
            self.watched = SGD(self.parameters(), lr=0.5)
            self.rates, step = [], self.watched.step

            def spy(grads):
                norm = np.sqrt(sum(float(np.square(g).sum()) for g in grads))
                self.rates.append((self.watched.lr, norm))
                step(grads)

            self.watched.step = spy
            return {"": self.watched}

    model = Watched(CONFIG, rng=streams(0).init)
    run(model, data, epochs=1, schedule=lambda step: 1 / (step + 1), clip_norm=0.01)
    rates, norms = zip(*model.rates, strict=True)
    assert rates == (0.5, 0.25, 0.5 / 3, 0.125)
    assert max(norms) <= 0.01 * (1 + 1e-5)


def test_a_folder_with_a_run_is_not_overwritten(data, tmp_path):
    run(autoencoder(), data, tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.npz").read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already"):
        run(autoencoder(), data, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"seed": 4}, "seed 3; expected seed 4"), ({"batch_size": 10}, "batch_size 16; expected batch_size 10")],
)
def test_resume_with_other_settings_says_which(changes, says, data, tmp_path):
    run(autoencoder(), data, tmp_path / "run")
    with pytest.raises(CheckpointError) as caught:
        run(autoencoder(), data, tmp_path / "run", resume=True, **changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resume_with_another_model_leaves_it_unchanged(data, tmp_path):
    run(autoencoder(), data, tmp_path / "run")
    other = e07.Autoencoder(e07.Config(pixels=36, hidden=(8,), code=4), rng=streams(3).init)
    before = other.state_dict()
    with pytest.raises(CheckpointError, match=r"config.code 3; expected config.code 4"):
        run(other, data, tmp_path / "run", resume=True)
    assert all(np.array_equal(before[name], array) for name, array in other.state_dict().items())

    class Autoencoder(e07.Autoencoder):  # the same by name and settings, not by parameters
        def __init__(self, config, *, rng):
            super().__init__(config, rng=rng)
            self.extra = Dense(2, 2, rng=rng)

    stranger = Autoencoder(CONFIG, rng=streams(3).init)
    before = stranger.state_dict()
    with pytest.raises(CheckpointError, match="nothing was loaded"):
        run(stranger, data, tmp_path / "run", resume=True)
    assert all(np.array_equal(before[name], array) for name, array in stranger.state_dict().items())


def test_resume_without_a_run_says_so(data, tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run(autoencoder(), data, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("yielded", "says"),
    [
        (lambda model, loss: [], "yielded nothing"),
        (lambda model, loss: None, "expected it to yield pairs"),
        (lambda model, loss: [loss], "expected a pair"),
        (lambda model, loss: [(model, 1.0)], "scalar Tensor"),
        (lambda model, loss: [(model.encoder, loss)], "has no optimizer"),
    ],
)
def test_updates_that_are_none_are_named(yielded, says, data):
    class Odd(e07.Autoencoder):
        def updates(self, batch, rng):
            _, loss = next(super().updates(batch, rng))
            return yielded(self, loss)

    with pytest.raises(GraphError, match=says):
        run(Odd(CONFIG, rng=streams(0).init), data)


def test_streams_do_not_disturb_each_other():
    one, other = streams(5), streams(5)
    one.noise.random(1000)
    assert one.init.random() == other.init.random()
    assert one.data.random() == other.data.random()
    draws = {float(rng.random()) for rng in streams(5)[:3]} | {float(rng.random()) for rng in streams(6)[:3]}
    assert len(draws) == 6


def test_config_says_what_it_takes_to_repeat_the_run(data, tmp_path):
    run(autoencoder(), data, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["config"]["code"] == 3
    assert config["seed"] == 3
    assert config["backend"] == "numpy"
    assert config["data"] == "toy"
    assert {"python", "numpy", "minigen"} <= set(config["versions"])
    assert "resumed" not in config
    run(autoencoder(), data, tmp_path / "run", resume=True)
    again = json.loads((tmp_path / "run" / "config.json").read_text())
    assert again["command"] == config["command"]
    assert len(again["resumed"]) == 1


@pytest.mark.parametrize("make", [autoencoder, players, rivals])
def test_training_on_an_unforgiving_backend_gives_the_same_run(make, data, tmp_path):
    run(make(), data, tmp_path / "numpy")
    with using(STRICT):
        with pytest.raises(Killed):
            run(make(), data, tmp_path / "strict", save_steps=1, progress=KillAt(6))
        run(make(), data, tmp_path / "strict", resume=True)
    same_numbers(everything(tmp_path / "strict"), everything(tmp_path / "numpy"))


def same_numbers(one, other):
    assert one[1]["batches"] == other[1]["batches"]
    for name, array in one[0].items():
        np.testing.assert_allclose(array, other[0][name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_lesson_functions_on_an_unforgiving_backend(data, tmp_path):
    with using(STRICT):
        model = autoencoder()
        x = data.test.images / np.float32(255)
        walk = e07.interpolate(model, x[0], x[1], 4)
        found = e07.noise_test(model, data.train.images / np.float32(255), x, 5, np.random.default_rng(0))
        drawn = e07.fitted_noise(model, x, 5, np.random.default_rng(0))
    assert walk.shape == (4, 36)
    assert drawn.shape == (5, 36)
    assert set(found) == {"data", "reconstructed", "noise"}


def test_a_batch_norm_and_both_optimizers_are_in_the_checkpoint(data, tmp_path):
    run(rivals(), data, tmp_path / "run", epochs=1)
    arrays, _ = checkpoint.load(tmp_path / "run" / "checkpoint.npz")
    assert {"model/critic.layers.1.running_mean", "model/generator.layers.1.running_var"} <= arrays.keys()
    assert {"optimizer/critic/m.0", "optimizer/generator/s.0"} <= arrays.keys()
    assert arrays["model/critic.layers.1.running_var"].std() > 0


def test_batches_are_prepared_anew_and_held_out_images_always_alike(data):
    model = rivals()
    result = run(model, data, epochs=2)
    training = [batch for training, batch in model.given if training]
    tested = [batch for training, batch in model.given if not training]
    assert [len(batch) for batch in training] == [16, 16, 16, 2] * 2
    assert all(set(np.unique(batch)) <= {0, 1} for batch in training + tested)
    assert len(tested) == 2
    assert np.array_equal(*tested)
    assert model.training
    assert result.trained == result.steps == 8


def test_evaluation_in_blocks_is_the_evaluation_of_the_whole(data):
    images = data.test.images / np.float32(255)
    seen = []

    class Spy(e07.Autoencoder):
        def evaluate(self, images, rng):
            seen.append((len(images), self.training))
            return super().evaluate(images, rng)

    model = Spy(CONFIG, rng=streams(0).init)
    whole = model.evaluate(images, None)
    for size, lengths in ((7, [7, 7, 6]), (None, [20]), (500, [20])):
        model.evaluation_block, seen[:] = size, []
        found = evaluate(model, images, np.random.default_rng(0))
        assert found["squared_error"] == pytest.approx(whole["squared_error"], rel=1e-5)
        assert seen == [(n, False) for n in lengths]
    assert model.training


def test_evaluation_refuses_figures_that_come_and_go(data):
    class Odd(e07.Autoencoder):
        evaluation_block = 15

        def evaluate(self, images, rng):
            return {f"error_{len(images)}": 1.0}

    with pytest.raises(GraphError, match="expected the same figures"):
        run(Odd(CONFIG, rng=streams(0).init), data)


def test_parameters_that_a_loss_forgets_are_named(data):
    class Forgetful(e07.Autoencoder):
        def decode(self, z):
            return self.decoder(z.detach())

    with pytest.raises(GraphError, match=r"depend on encoder.layers.0.W, .*\(4 of 8 parameters\)"):
        run(Forgetful(CONFIG, rng=streams(0).init), data)

    class Cut(e07.Autoencoder):
        def updates(self, batch, rng):
            for module, loss in super().updates(batch, rng):
                yield module, loss.detach()

    with pytest.raises(GraphError, match=r"and 4 more \(8 of 8 parameters\)"):
        run(Cut(CONFIG, rng=streams(0).init), data)


def test_fewer_epochs_than_were_begun_are_refused_and_nothing_is_written(data, tmp_path):
    with pytest.raises(Killed):  # in the middle of the third
        run(autoencoder(), data, tmp_path / "run", save_steps=1, progress=KillAt(11))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    for epochs in (1, 2):
        with pytest.raises(CheckpointError, match=f"3 epochs were begun, {epochs} asked for"):
            run(autoencoder(), data, tmp_path / "run", resume=True, epochs=epochs)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    opened = []
    result = run(autoencoder(), data, tmp_path / "run", resume=True, opened=lambda *at: opened.append(at))
    assert (result.trained, opened) == (2, [(10, 12)])
    assert run(autoencoder(), data, tmp_path / "run", resume=True).trained == 0
