"""Interrupts: SIGINT and SIGTERM end a block in the same way and are never lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

_nested = threading.Lock()
"""Held by the outermost of nested blocks."""
_AGAIN_S = 0.05


class _Interrupted:
    """State that needs no lock, because a handler may run anywhere: whether an interrupt came."""

    came = False


def _interrupt(*_: object) -> None:
    _Interrupted.came = True
    raise KeyboardInterrupt


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with KeyboardInterrupt.

    Code that is interrupted may fail while it cleans up; the block still ends with
    KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    outermost, ignored = _nested.acquire(blocking=False), sys.unraisablehook
    if outermost:
        sys.unraisablehook = partial(_interrupt_again, ignored)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    except Exception as error:
        if _Interrupted.came:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if outermost:
            sys.unraisablehook = ignored
            _Interrupted.came = False
            _nested.release()


def _interrupt_again(ignored: Callable[[Any], Any], lost: Any) -> None:
    """Interrupt again if Python drops an interrupt.

    It drops exceptions that are raised in callbacks of weak references and in `__del__`, which run
    at any time, and passes them to this hook; what the hook raises is dropped as well.

    ignored: The hook for all other exceptions.
    """

    def interrupt() -> None:
        if _Interrupted.came and (main := threading.main_thread().ident) is not None:
            signal.pthread_kill(main, signal.SIGINT)

    if _Interrupted.came and lost.exc_type is KeyboardInterrupt:
        threading.Timer(_AGAIN_S, interrupt).start()
    else:
        ignored(lost)


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
