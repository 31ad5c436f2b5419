"""Workers: every task is done once, errors arrive, nesting and forking are harmless, scratch is the thread's own."""

import os
import threading

import numpy as np
import pytest

from minigen import Tensor, blas, grad, ops, workers
from minigen.ops import linalg


def test_every_task_is_done_once():
    done = []
    workers.run([lambda i=i: done.append(i) for i in range(5)])
    assert sorted(done) == list(range(5))


def test_tasks_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=10)
    workers.run([barrier.wait, barrier.wait])


def test_an_error_arrives_after_all_tasks_are_done():
    done = []

    def fail():
        raise ValueError("of the second task")

    for order in ([fail, lambda: done.append(1)], [lambda: done.append(1), fail]):
        with pytest.raises(ValueError, match="second task"):
            workers.run(order)
    assert done == [1, 1]
    workers.run([lambda: done.append(2), lambda: done.append(2)])
    assert done == [1, 1, 2, 2]


def test_a_task_may_run_tasks():
    done = []
    workers.run([lambda: workers.run([lambda: done.append(1)] * 2)] * 2)
    assert done == [1] * 4


@pytest.mark.parametrize(("n", "parts"), [(0, 2), (1, 2), (5, 2), (7, 3), (3, 8)])
def test_split_covers_everything_once(n, parts):
    pieces = workers.split(n, parts)
    assert [i for a, b in pieces for i in range(a, b)] == list(range(n))
    assert all(a < b for a, b in pieces)
    assert len(pieces) == min(n, parts)


def test_scratch_is_kept_per_thread_and_name():
    seen = {}

    def look(key):
        seen[key] = workers.scratch("test", (3, 2), np.float32)

    workers.run([lambda: look(0), lambda: look(1)])
    assert not np.shares_memory(seen[0], seen[1])
    first = workers.scratch("test", (4,), np.float64)
    assert np.shares_memory(first, workers.scratch("test", (2,), np.float32))
    assert not np.shares_memory(first, workers.scratch("other", (2,), np.float32))
    assert workers.scratch("test", (0, 5), np.float32).shape == (0, 5)


def test_blas_threads_come_back():
    before = blas.threads()
    if before is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS")
    try:
        blas.set_threads(2)
        with blas.one_thread():
            assert blas.threads() == 1
        assert blas.threads() == 2
    finally:
        blas.set_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("found", [True, False])
def test_axpby_is_what_it_says(rng, monkeypatch, dtype, found):
    if not found:
        monkeypatch.setattr(blas, "_axpby", lambda kind: None)
    x, y = (rng.standard_normal(1001).astype(dtype) for _ in range(2))
    kept, expected = x.copy(), 0.3 * x.astype(np.float64) - 1.7 * y
    blas.axpby(0.3, x, -1.7, y, np.empty_like(x))
    assert (x == kept).all()
    assert np.allclose(y, expected, rtol=1e-6, atol=1e-6)
    row = np.ones((3, 5), dtype)[:, 2]  # not one stretch of memory
    blas.axpby(2.0, row.copy(), 1.0, row, np.empty_like(row))
    assert (row == 3).all()


@pytest.mark.parametrize("shape", [(37, 5), (2, 19, 5)])
def test_shared_products_are_what_one_thread_computes(rng, monkeypatch, shape):
    """Dense layers forwards and backwards: rows of the result to each worker, uneven ones too."""
    x, W, b, g = (rng.standard_normal(s) for s in (shape, (5, 40), 40, (*shape[:-1], 40)))

    def results():
        leaves = [Tensor(a, requires_grad=True) for a in (x, W, b)]
        y = ops.linear(*leaves)
        return [y.numpy(), *grad(y, leaves, seed=g)]

    alone = results()
    monkeypatch.setattr(linalg, "SHARED_FROM", 0)
    monkeypatch.setattr(linalg, "LEAST_ROWS", 1)
    with workers.using(2), blas.one_thread():
        assert blas.threads() in (1, None)
        shared = results()
    for a, b in zip(alone, shared, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own():
    workers.run([lambda: None, lambda: None])
    child = os.fork()
    if child == 0:
        done = []
        workers.run([lambda: done.append(1), lambda: done.append(1)])
        os._exit(0 if len(done) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
