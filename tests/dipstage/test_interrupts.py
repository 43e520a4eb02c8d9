"""Signals that wait until a run has written what there is."""

import os
import signal

import pytest

from dipstage.interrupts import deferred


def test_a_second_interrupt_ends_at_once() -> None:
    with deferred() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
