"""What ranks are made of, in this one process: shares, draws, sums, NCCL's calls, cores."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import ranks_models as models
from mpi import ROOT
from strict import STRICT

from minigen import Tensor, grad, ranks, workers
from minigen.backend import NUMPY, Backend, from_host, to_host, using
from minigen.errors import BackendError, RankError
from minigen.ranks import session
from minigen.ranks.mpi import Mpi
from minigen.ranks.rows import OTHERS, SIZE, Rows, drawing_rows
from minigen.training.together import Together


class Many(ranks.Communicator):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("whole", "parts"), [(5, 1), (13, 1), (64, 1), (31, 3), (17, 3), (192, 3)])
def test_shares_are_the_batch_part_by_part(size, whole, parts):
    shares = [ranks.cut(Many(rank, size), whole, parts) for rank in range(size)]
    assert sorted(np.concatenate([s.rows for s in shares])) == list(range(whole))
    each = whole // parts
    for share in shares:
        n = len(share.rows) // parts
        assert n == len(share.part_rows) > 0, "a model cuts its share into parts of this size"
        for i in range(parts):
            np.testing.assert_array_equal(share.rows[i * n : (i + 1) * n], i * each + share.part_rows)
    for pair in range(parts + 1):
        assert sum(share.weight(pair) for share in shares) == pytest.approx(1, abs=1e-15)
    largest, smallest = (f(len(s.part_rows) for s in shares) for f in (max, min))
    assert largest - smallest <= 1


def test_a_batch_smaller_than_the_ranks_is_refused():
    with pytest.raises(RankError, match=r"^a batch has 2 images for 3 ranks: each needs one; choose another"):
        ranks.cut(Many(0, 3), 2)
    with pytest.raises(RankError, match=r"^one of the 3 parts of a batch of 5 has 1 image for 2 ranks"):
        ranks.cut(Many(1, 2), 5, parts=3)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("random", ((5, 2),), {}), ("random", (5,), {"dtype": np.float32}),
        ("standard_normal", ((5, 2), np.float32), {}),
        ("normal", (1.0, 2.0, (5,)), {}), ("normal", (), {"loc": 1.0, "size": (5, 3)}), ("integers", (9,), {"size": 5}),
        ("uniform", (0, 2, 5), {}), ("choice", ([2, 3, 5], (5, 2)), {}), ("gamma", (2.0,), {"size": (5,)}),
        ("random", ((1, 4),), {}), ("random", (), {}), ("integers", (7,), {}), ("normal", (1.0, 2.0), {"size": ()}),
    ],
)  # fmt: skip
def test_a_draw_is_the_rows_of_one_process_draw(name, args, kwargs):
    """13 images, of which rank 1 of 2 has 5 of 11 in parts of 1: a draw for a part, one for the share, a number."""
    share = ranks.cut(Many(0, 2), 11)
    assert (len(share.rows), share.places(5)[0]) == (5, 11)
    rng, alone = Rows(np.random.PCG64(4)), np.random.default_rng(4)

    def widened(value):
        if isinstance(value, tuple):
            return tuple(map(widened, value))
        return 11 if isinstance(value, int) and value == 5 else value

    if name == "random" and args == ((1, 4),):
        share = ranks.cut(Many(0, 2), 9, parts=3)  # parts of 3 images, of which one is ours
        expected, rows = alone.random((3, 4)), share.part_rows
    else:
        expected = getattr(alone, name)(*map(widened, args), **{k: widened(v) for k, v in kwargs.items()})
        rows = share.rows
    with ranks.sharing(share):
        found = getattr(rng, name)(*args, **kwargs)
    np.testing.assert_array_equal(found, expected if np.ndim(expected) == 0 else expected[rows])
    assert rng.random() == alone.random(), "and the streams stand at the same place"


def test_draws_that_no_share_has_are_refused():
    rng, share = Rows(np.random.PCG64(4)), ranks.cut(Many(0, 2), 10)
    draws = [
        lambda: rng.random((7, 2)),
        lambda: rng.normal(np.zeros(5), 1.0),
        lambda: rng.random(out=np.zeros(5)),
    ]
    draws += [lambda: rng.permutation(5), lambda: rng.shuffle([1, 2]), lambda: rng.spawn(2)]
    for draw in draws:
        with (
            ranks.sharing(share),
            pytest.raises(RankError, match=r"cannot be shared by 2 ranks: expected the first"),
        ):
            draw()
    for draw in [draws[0], *draws[2:]]:
        draw()  # a batch that is whole


def test_every_draw_that_numpy_has_is_known():
    public = {name for name in dir(np.random.Generator) if not name.startswith("_")}
    assert public - {"bit_generator"} <= SIZE.keys() | {*OTHERS}


def test_a_models_own_generators_are_put_back():
    model = models.build("critic")
    own = [rng for _, rng in model.named_generators()]
    with drawing_rows(model):
        assert [type(rng) for _, rng in model.named_generators()] == [Rows]
    assert [rng for _, rng in model.named_generators()] == own


def test_nccl_is_called_as_cupy_14_has_it(monkeypatch):
    """Its arguments only, read off CuPy's binding: no device has summed anything here."""
    from minigen.ranks.nccl import Nccl

    calls = []

    class Ring:
        def __init__(self, size, name, rank):
            calls.append((size, name, rank))

        def allReduce(self, send, receive, count, kind, operation, stream):
            calls.append((send == receive, count, kind, operation, stream))

    binding = SimpleNamespace(
        available=True,
        NCCL_FLOAT32=7,
        NCCL_FLOAT64=8,
        NCCL_SUM=0,
        get_unique_id=lambda: b"id",
        NcclCommunicator=Ring,
    )
    cuda = SimpleNamespace(nccl=binding, get_current_stream=lambda: SimpleNamespace(ptr=5))
    team = Nccl.__new__(Nccl)
    team.rank, team.size = 0, 2
    monkeypatch.setattr(Nccl, "broadcast", lambda self, data, root=0: data)
    buffer = SimpleNamespace(data=SimpleNamespace(ptr=1234), size=6, dtype=np.dtype("float64"))
    with using(Backend("device", SimpleNamespace(cuda=cuda, ndarray=SimpleNamespace), to_host, from_host)):
        team.allreduce_sum(buffer)
        team.allreduce_sum(buffer)
        binding.available, team._ring = False, None
        with pytest.raises(
            BackendError, match=r"^--ranks nccl: this CuPy has no NCCL: install it, or use --ranks mpi$"
        ):
            team.allreduce_sum(buffer)
    assert calls == [(2, b"id", 0), (True, 6, 8, 0, 5), (True, 6, 8, 0, 5)]


def test_device_arrays_are_staged_through_the_host():
    """MPI's sum of an array that is not NumPy's, on the strict backend: in place."""

    class World:
        def Allreduce(self, place, buffer):
            buffer *= 2

    team = Mpi.__new__(Mpi)
    team._mpi, team._world = SimpleNamespace(IN_PLACE=None), World()
    with using(STRICT):
        buffer = from_host(np.array([1.0, 2.0]))
        team.allreduce_sum(buffer)
        np.testing.assert_array_equal(to_host(buffer), [2.0, 4.0])


@pytest.mark.parametrize("backend", [NUMPY, STRICT], ids=["numpy", "strict"])
def test_a_sum_over_ranks_takes_any_layout(backend):
    """In place, in a copy that lies flat: with two equal ranks it doubles, and so does its gradient."""
    from minigen.ranks.norm import all_sum

    class Twice(ranks.Communicator):
        def allreduce_sum(self, buffer):
            assert buffer.ndim == 1
            buffer *= 2

    host = np.arange(6.0).reshape(2, 3)
    with using(backend):
        raw = from_host(host).T
        assert not raw.flags.c_contiguous
        np.testing.assert_array_equal(to_host(all_sum(raw, team=Twice())), 2 * host.T)
        np.testing.assert_array_equal(to_host(raw), host.T, err_msg="and leaves its input alone")
        x = Tensor(raw, requires_grad=True)
        y = all_sum(x, team=Twice())
        np.testing.assert_array_equal(to_host(grad((y * y).sum(), x)), 8 * host.T)


class Twins(ranks.Communicator):
    """Two ranks that do the same."""

    size = 2

    def __init__(self):
        self.sums = []

    def allreduce_sum(self, buffer):
        self.sums.append((buffer.ndim, len(buffer), str(buffer.dtype)))
        buffer *= 2


def test_gradients_travel_in_one_buffer_for_each_dtype():
    team = Twins()
    together = Together(team, None)
    kinds = [((2, 3), "float32"), ((4,), "float64"), ((), "float32"), ((2, 2), "float64")]
    grads = [np.full(shape, i + 1.0, dtype) for i, (shape, dtype) in enumerate(kinds)]
    for _ in range(2):
        for i, (g, (shape, dtype)) in enumerate(zip(together.sum(grads), kinds, strict=True)):
            assert (g.shape, g.dtype) == (shape, dtype)
            np.testing.assert_array_equal(g, 2.0 * (i + 1))
    assert team.sums == 2 * [(1, 7, "float32"), (1, 8, "float64")]


@pytest.mark.parametrize("name", ["VAE", "Wasserstein GAN", "critic"])
def test_a_rank_trains_on_any_backend(name):
    """The code of a rank, beside one that does the same: on the strict backend the numbers of NumPy."""
    runs = []
    for backend in (NUMPY, STRICT):
        with using(backend):
            runs.append(models.run(Twins(), name, models.dataset(20)))
    assert len(runs[0]["losses"]) == 2
    np.testing.assert_allclose(runs[1]["losses"], runs[0]["losses"], rtol=1e-12)
    np.testing.assert_allclose(runs[1]["figures"], runs[0]["figures"], rtol=1e-10)


def test_ranks_on_the_same_cores_divide_them(monkeypatch):
    monkeypatch.delenv("MINIGEN_WORKERS", raising=False)
    with workers.using(6):
        assert session._cores(Twins()) == 3
    with workers.using(1):
        assert session._cores(Twins()) == 1
    if hasattr(os, "sched_getaffinity"):
        elsewhere = json.dumps([session._machine(), [10**6]]).encode()  # bound to another core by mpiexec
        monkeypatch.setattr(Twins, "broadcast", lambda self, data, root=0: elsewhere if root else data)
        with workers.using(6):
            assert session._cores(Twins()) == 6
    monkeypatch.setenv("MINIGEN_WORKERS", "6")
    with workers.using(6):
        assert session._cores(Twins()) == 6, "who asks for a number gets it"


def test_no_word_of_mpi_unless_it_is_asked_for():
    code = "import sys, minigen.training, minigen.ranks; print([m for m in sys.modules if 'mpi4py' in m])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
