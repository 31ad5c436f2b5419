"""The two scripts that put likelihoods into tables, on models small enough to know the answer."""

import numpy as np
import pytest

from minigen.data import load
from solutions import e09_autoregressive as e09
from solutions import likelihood_table, run_evidence
from solutions.e13_vae import VAE, Config


def test_the_table_measures_each_row_as_its_model_does(tmp_path, monkeypatch, capsys):
    rows = [row for row in likelihood_table.rows() if row.run == "independent"]
    monkeypatch.setattr(likelihood_table, "rows", lambda: rows)
    (line,) = likelihood_table.table(tmp_path, 1).splitlines()[2:]
    name, parameters, nats, bits, _ = (cell.strip() for cell in line.strip("|").split("|"))
    data = e09.thresholded(load("mnist-small"))
    model = e09.Independent(rows[0].config, rng=np.random.default_rng(0))
    model.fit(data.train.images / 255.0)
    test = (data.test.images / 255.0).reshape(1000, 784)
    p = 1 / (1 + np.exp(-np.asarray(model.logits(test.astype("float32")).data, "float64")))
    exact = -(test * np.log(p) + (1 - test) * np.log1p(-p)).sum(1).mean()
    assert (name, parameters) == ("independent pixels", "784")
    assert float(nats) == pytest.approx(exact, abs=0.006)
    assert float(bits) == pytest.approx(exact / 784 / np.log(2), abs=1e-4)


def test_more_draws_come_nearer_and_blocks_change_nothing(rng):
    model = VAE(Config(pixels=4, hidden=(6,), code=2), rng=rng).eval()
    for parameter in model.encoder.parameters():
        parameter.data[...] = 0.0  # q(z|x) is the prior: no weight is large
    images = (rng.random((run_evidence.BLOCK + 7, 2, 2)) < 0.5).astype("float32")
    exact = _enumerated(model, images)
    found = run_evidence.minus_log_likelihood(model, images, 4000, rng)
    assert found.shape == (len(images),)
    np.testing.assert_allclose(found, exact, atol=0.15)
    np.testing.assert_allclose(found.mean(), exact.mean(), atol=0.02)


def _enumerated(model, images):
    """(N, 2, 2) -> (N,) nats: minus log of p(x | z) averaged over a fine grid of z, weighted by its prior"""
    axis = np.linspace(-6, 6, 121)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    prior = np.exp(-(grid**2).sum(1) / 2)
    logits = np.asarray(model.decoder(grid.astype("float32")).data, "float64").reshape(len(grid), 1, 4)
    log_p = -np.logaddexp(0, np.where(images.reshape(1, -1, 4) > 0.5, -logits, logits)).sum(-1)
    return -np.log((prior[:, None] * np.exp(log_p)).sum(0) / prior.sum())
