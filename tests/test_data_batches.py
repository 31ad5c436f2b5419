"""Batches: every item once per epoch, and a saved place resumes bit for bit, from anywhere."""

import itertools
import json

import numpy as np
import pytest

from minigen.data import Batches
from minigen.errors import CheckpointError, DataError


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 5), (10, 10), (3, 8), (1, 1)])
def test_an_epoch_holds_every_item_once(rng, n, size):
    batches = Batches(n, size, rng)
    for epoch in range(3):
        assert batches.epoch == epoch
        seen = list(batches)
        assert len(seen) == len(batches) == -(-n // size)
        assert sorted(np.concatenate(seen)) == list(range(n))
        assert all(len(index) == size for index in seen[:-1])


def test_epochs_differ_and_seeds_repeat():
    first, second = (
        list(itertools.islice(Batches(1000, 1000, np.random.default_rng(3)), 1)) for _ in range(2)
    )
    assert np.array_equal(first, second), "the same seed must give the same order"
    batches = Batches(1000, 1000, np.random.default_rng(3))
    assert not np.array_equal(next(batches), next(batches)), "a new epoch must be shuffled anew"


def test_drop_last_gives_only_full_batches(rng):
    batches = Batches(10, 4, rng, drop_last=True)
    for _ in range(3):
        assert [len(index) for index in batches] == [4, 4]
    assert len(batches) == 2


def test_a_broken_loop_goes_on_where_it_was_left(rng):
    batches = Batches(10, 3, rng)
    seen = [next(iter(batches))]
    assert (batches.epoch, batches.position) == (0, 3)
    seen += list(batches)
    assert sorted(np.concatenate(seen)) == list(range(10))


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
@pytest.mark.parametrize("drop_last", [False, True])
def test_resume_is_exact_from_every_position(bits, drop_last):
    batches = Batches(10, 3, np.random.Generator(bits(5)), drop_last=drop_last)
    states, stream = [], []
    for _ in range(13):
        states.append(json.dumps(batches.state_dict()))
        stream.append(next(batches))
    for i, state in enumerate(states):
        resumed = Batches(10, 3, np.random.Generator(bits(99)), drop_last=drop_last)
        next(resumed)
        resumed.load_state_dict(json.loads(state))
        assert resumed.state_dict() == json.loads(state), f"state {i} must survive a round trip"
        for expected in stream[i:]:
            assert np.array_equal(next(resumed), expected), f"resuming from batch {i} left the stream"
        assert resumed.rng.bit_generator.random_raw() == _ahead(batches), (
            "the generators must agree afterwards"
        )


def _ahead(batches: Batches) -> int:
    twin = type(batches.rng.bit_generator)()
    twin.state = batches.rng.bit_generator.state
    return twin.random_raw()


def test_resume_is_exact_though_others_draw_from_the_generator():
    rng = np.random.default_rng(1)
    batches = Batches(10, 3, rng)
    next(batches)
    rng.random(7)
    state = batches.state_dict()
    expected = [next(batches) for _ in range(6)]
    resumed = Batches(10, 3, np.random.default_rng(2))
    resumed.load_state_dict(state)
    assert all(np.array_equal(next(resumed), index) for index in expected)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 11},
        {"size": 4},
        {"drop_last": True},
        {"position": 10},
        {"position": -1},
        {"position": 0},
        {"position": "3"},
        {"epoch": None},
        {"start": None},
        {"rng": {}},
        {"rng": None},
        {"start": {"bit_generator": "MT19937", "state": 3}},
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change):
    batches = Batches(10, 3, np.random.default_rng(1))
    next(batches)
    batches.rng.random(3)  # so that a half-done load would show in the generator
    before = batches.state_dict()
    with pytest.raises(CheckpointError) as error:
        batches.load_state_dict(before | change)
    assert "\n" not in str(error.value)
    assert batches.state_dict() == before


def test_batches_are_read_only_and_sizes_checked(rng):
    with pytest.raises(ValueError, match="read-only"):
        next(Batches(10, 3, rng))[0] = 5
    for n, size, drop in ((0, 1, False), (5, 0, False), (5, 6, True)):
        with pytest.raises(DataError, match="at least one full batch"):
            Batches(n, size, rng, drop_last=drop)
