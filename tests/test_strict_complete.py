"""The strict backend knows all that CuPy offers and lacks: its lists against cupy_names.json, and that against CuPy."""

import cupy_api as api
import numpy as np
import pytest
from cupy_introspection import introspect, keywords
from strict import STRICT, Array, Refused

from minigen.backend import from_host, to_host, using, xp

NAMES = api.UFUNCS + api.CREATION + api.JOINING + api.FUNCTIONS + api.HOST
STORED = api.STORED


@pytest.fixture
def strict():
    with using(STRICT):
        yield from_host(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))


def test_the_stored_names_are_the_installed_cupys():
    cupy = pytest.importorskip("cupy", reason="no CuPy to look at")
    major = [version.split(".")[0] for version in (cupy.__version__, STORED["cupy"])]
    assert major[0] == major[1], (
        "another CuPy: run `python -m tests.cupy_introspection` and look at what changed"
    )
    found = introspect()
    if (found["cupy"], found["numpy"]) == (STORED["cupy"], STORED["numpy"]):
        assert found == STORED


def test_every_function_of_cupy_has_one_place():
    left_out = [name for names in api.LEFT_OUT.values() for name in names]
    placed = NAMES + left_out
    assert sorted(placed) == sorted(set(placed)), "a name stands in two lists"
    assert set(placed) == set(STORED["functions"]["shared"])
    assert set(api.UFUNCS) <= set(STORED["ufuncs"])
    assert set(api.LINALG + api.LINALG_LEFT_OUT) == set(STORED["linalg"]["shared"])
    assert set(api.STRIDE_TRICKS) == set(STORED["lib.stride_tricks"]["shared"])


def test_what_cupy_lacks_is_refused(strict):
    assert len(STORED["functions"]["lacking"]) > 50
    for name in STORED["functions"]["lacking"]:
        with pytest.raises(Refused):
            getattr(xp, name)
    for name in STORED["linalg"]["lacking"]:
        assert not hasattr(xp.linalg, name)
    for name in [
        name for names in api.LEFT_OUT.values() for name in names if name not in ("lib", "linalg", "ndarray")
    ]:
        with pytest.raises(Refused):
            getattr(xp, name)


def test_the_array_has_what_cupys_has_and_lacks_what_it_lacks(strict):
    placed = api.METHODS + api.ATTRIBUTES + api.ARRAY_BY_HAND + api.ARRAY_LEFT_OUT
    shared = {name for name in STORED["ndarray"]["shared"] if not name.startswith("_")}
    assert sorted(placed) == sorted(shared), "each in one list"
    for name in set(placed) - {*api.ARRAY_LEFT_OUT}:
        assert hasattr(strict, name), name
    assert {"__index__", "__contains__", "__array_interface__", "__imatmul__"} <= {
        *STORED["ndarray"]["lacking"]
    }
    for name in STORED["ndarray"]["lacking"] + api.ARRAY_LEFT_OUT:
        assert not hasattr(strict, name), name
    for name in STORED["flags"]["lacking"]:
        assert not hasattr(strict.flags, name), name
    special = {name for name in STORED["ndarray"]["shared"] if name.startswith("__")} & vars(Array).keys()
    assert {"__getitem__", "__matmul__", "__array_ufunc__", "__array_function__", "__bool__"} <= special


def test_keywords_that_cupy_lacks_are_refused_by_every_function(strict):
    """Whatever NumPy's function of today takes, and the methods, and linalg's."""
    owners = [("", np, xp, api.UFUNCS + api.CREATION + api.JOINING + api.FUNCTIONS)]
    owners += [("linalg.", np.linalg, xp.linalg, api.LINALG), ("ndarray.", np.ndarray, Array, api.METHODS)]
    tried = 0
    for place, owner, ours, names in owners:
        for name in names:
            wanted = {*(keywords(getattr(owner, name)) or ())} | {"like", "device", "where"}
            known = api.keywords(place + name)
            for word in wanted - (known if known is not None else wanted - api.NOWHERE):
                with pytest.raises(Refused, match=f"CuPy has no keyword {word}|wants a device array"):
                    getattr(ours, name)(strict, **{word: None})
                tried += 1
    assert tried > 500


# Where CuPy computes something else: its documentation's "Differences between CuPy and NumPy"


def test_a_cast_that_no_machine_defines_is_refused(strict):
    for value, dtype in [
        (-1.0, "uint8"),
        (256.0, "uint8"),
        (np.inf, "int64"),
        (np.nan, "int32"),
        (2.0**63, "int64"),
    ]:
        with pytest.raises(Refused, match="undefined on a device"):
            xp.full((2,), value).astype(dtype)
    np.testing.assert_array_equal(to_host(xp.asarray([-1.9, 255.9]).astype("int32")), [-1, 255])
    assert to_host(xp.asarray([255.9]).astype("uint8")) == 255
    assert xp.zeros((0,)).astype("int64").size == 0


def test_places_outside_wrap_around_in_take_too(strict):
    places = xp.asarray([3, -4])
    np.testing.assert_array_equal(to_host(xp.take(strict, places, axis=1)), [[1, 3], [4, 6]])
    np.testing.assert_array_equal(to_host(strict.take(places)), [4, 3])
    along = xp.asarray([[3], [4]])
    np.testing.assert_array_equal(to_host(xp.take_along_axis(strict, along, 1)), [[1], [5]])


def test_a_new_array_has_a_layout_of_its_own(strict):
    transposed = strict.T
    assert not transposed.flags.c_contiguous
    for made in (transposed + 1.0, -transposed, xp.exp(transposed), 2.0 * transposed):
        assert made.flags.c_contiguous
