"""Interrupts: SIGINT and SIGTERM end a block in the same way and are never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_interrupted = threading.Event()
_nested = threading.Lock()
"""Held by the outermost of nested blocks."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with KeyboardInterrupt.

    Code that is interrupted may fail while it cleans up; the block still ends with
    KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    outermost = _nested.acquire(blocking=False)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except Exception as error:
        if _interrupted.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if outermost:
            _interrupted.clear()
            _nested.release()


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Let the first SIGINT or SIGTERM only be noted, and the second end the block.

    Yields a function that returns whether there was a first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before: dict[signal.Signals, Any] = {}
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, note)
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if_interrupted() -> None:
    """Raise KeyboardInterrupt again if the first was lost.

    Python drops exceptions that are raised during garbage collection.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt
