"""Interrupts: SIGINT and SIGTERM end a block in the same way, and are never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_interrupted = threading.Event()
_nested = threading.Lock()
"""Held by the outermost of the blocks that can be interrupted."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: by KeyboardInterrupt, whatever that broke on its way.

    Code that is cut off in its middle may fail as it clears up; that is no other end of the block.
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


def end_if_interrupted() -> None:
    """KeyboardInterrupt again, where the first was lost: Python drops what is raised while it
    collects garbage.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt
