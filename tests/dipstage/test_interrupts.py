"""Signals that wait until a run has written what there is."""

import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from dipstage.interrupts import deferred, terminable


@pytest.fixture
def heeded() -> Iterator[None]:
    """SIGINT interrupts, as it does in a terminal; a shell's background job ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_a_second_interrupt_ends_at_once() -> None:
    with deferred() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def dropping(callback: Callable[[], object]) -> None:
    """Call a callback of a weak reference, of which Python drops all exceptions."""
    thing = {callback}
    reference = weakref.ref(thing, lambda _: callback())
    del thing
    assert reference() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_drops_comes_again(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    before, passed = sys.unraisablehook, []

    def work() -> None:
        dropping(lambda: os.kill(os.getpid(), number))
        passed.append("the first")
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt), terminable():
        work()
    assert passed == ["the first"]
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is before


def test_other_exceptions_that_python_drops_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: shown.append(lost.exc_type))
    with terminable():
        dropping(lambda: 1 / 0)
    assert shown == [ZeroDivisionError]
