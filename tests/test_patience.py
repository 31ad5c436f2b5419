"""A stop that is asked for is a note at first; nothing is interrupted by it."""

import signal

import pytest

from minigen.patience import patience

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("first", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_the_first_signal_is_a_note_and_the_second_stops(first, second):
    before = [signal.getsignal(one) for one in BOTH]
    with patience(*BOTH) as patient:
        assert not patient.asked, "nobody has asked yet"
        signal.raise_signal(first)
        assert patient.asked, "the first signal left no note"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert [signal.getsignal(one) for one in BOTH] == before, "the handlers were not put back"


def test_without_names_it_is_ctrl_c_alone():
    before = signal.getsignal(signal.SIGTERM)
    with patience() as patient:
        assert signal.getsignal(signal.SIGTERM) is before, "SIGTERM was not asked for"
        signal.raise_signal(signal.SIGINT)
    assert patient.asked, "Ctrl-C left no note"
