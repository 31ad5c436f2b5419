"""Several ranks train what one process trains, to rounding; and end together, with one line, when they cannot.

The runs of many processes are made by tests/ranks_models.py under mpiexec, and skip where there is none.
"""

import json

import numpy as np
import pytest
import ranks_models as models
from mpi import mpi, under_mpi

from minigen import checkpoint, ranks


def made(n, what, folder):
    """What tests/ranks_models.py finds on n ranks"""
    file = folder / "found.json"
    done = mpi(n, "-m", "tests.ranks_models", what, file)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == f"rank 0 of {n}\n", "rank 0 alone prints"
    return json.loads(file.read_text())


def same(found, expected, bound=1e-12):
    assert len(expected["losses"]) == 20
    for part in ("losses", "figures"):
        np.testing.assert_allclose(found[part], expected[part], rtol=bound, atol=0, err_msg=part)
    for name, value in expected["state"].items():
        np.testing.assert_allclose(found["state"][name], value, rtol=bound, atol=bound, err_msg=name)


# The same numbers


@pytest.fixture(scope="module")
def one_process():
    return {name: models.run(ranks.Communicator(), name) for name in models.MODELS}


@under_mpi
@pytest.mark.parametrize("n", [2, 3])
def test_ranks_train_what_one_process_trains(n, one_process, tmp_path):
    """Batches of 10 and a last one of 9: unequal shares on 3 ranks, and on 2 in the last step"""
    found = made(n, "curves", tmp_path)
    assert len(found) == (len(models.MODELS) if n == 2 else 4)
    for name, curve in found.items():
        same(curve, one_process[name])


@under_mpi
def test_a_stop_on_one_rank_stops_all_and_resumes_to_the_same_bits(tmp_path):
    found = made(2, "resume", tmp_path)
    assert found["told"] == f"interrupted after step 7, saved in {tmp_path / 'run'}"
    assert found["again"]["figures"] == found["whole"]["figures"]
    assert found["again"]["state"] == found["whole"]["state"]
    assert found["again"]["losses"] == found["whole"]["losses"][7:]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["ranks"] == 2
    whole = models.run(ranks.Communicator(), "GAN", run_dir=tmp_path / "run", resume=True)
    np.testing.assert_allclose(
        whole["figures"], found["again"]["figures"], err_msg="one process takes it up, too"
    )


# What they refuse, together


@under_mpi
def test_what_ranks_refuse_is_one_line_on_all_of_them(tmp_path):
    found = made(2, "refusals", tmp_path)
    assert found["settings"].startswith(
        "the ranks disagree about batch size: 10 on rank 0, 12 on rank 1; start all"
    )
    assert found["data"].startswith("the ranks disagree about the training images (by checksum): ")
    assert found["small"].startswith(
        "a batch has 1 image for 2 ranks: each needs one; choose another --batch-size"
    )
    assert found["uneven"].startswith("step 1: the ranks drew different amounts of random numbers; expected")
    assert found["shuffling"].startswith(
        "rng.permutation with no shape that says which image is whose cannot be"
    )
    assert found["first"].startswith("no such checkpoint.npz: no such file")
    assert "diverged at step" in found["diverged"]
    assert [line for line in found.values() if "\n" in line] == []


@under_mpi
@pytest.mark.parametrize("what", ["killed", "raised"])
def test_a_rank_that_ends_ends_the_others(what, tmp_path):
    done = mpi(2, "-m", "tests.ranks_models", what, tmp_path / "found.json")
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if line.startswith("minigen")]
    if what == "raised":
        assert len(ours) == 1
        assert ours[0].startswith(
            "minigen: rank 1 of 2: IndexError: list index out of range (ranks_models.py:"
        )
    assert "Traceback" not in done.stderr
    _, meta = checkpoint.load(tmp_path / "run" / "checkpoint.npz")
    assert meta["step"] == 4
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"config.json", "metrics.jsonl"}
    assert not (tmp_path / "found.json").exists()
