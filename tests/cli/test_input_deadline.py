"""What is left of a deadline after reading."""

import signal
import time

import pytest

from llmfail.cli.run.input_deadline import InputTooLate, read_in_time


def test_without_a_deadline_reading_takes_as_long_as_it_takes():
    assert read_in_time(lambda: "text", None) == ("text", None)


def test_what_reading_took_is_gone_from_the_deadline():
    text, left = read_in_time(lambda: time.sleep(0.05) or "text", 60.0)
    assert text == "text"
    assert 0 < left <= 59.95


def test_reading_is_interrupted_and_nothing_stays_behind():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(InputTooLate):
        read_in_time(lambda: time.sleep(60), 0.05)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
