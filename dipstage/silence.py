"""Silence for libraries that complain in other ways as well as by an exception."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_one_at_a_time = threading.Lock()


@contextmanager
def without_stderr() -> Iterator[None]:
    """Send standard error nowhere, for libraries that write to it past Python.

    What other threads write meanwhile is lost as well: keep it short.
    """
    with _one_at_a_time:
        try:
            kept = os.dup(2)
        except OSError:  # It is closed.
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def without_logs(*names: str) -> Iterator[None]:
    """Drop what these loggers say meanwhile, in all threads."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(nothing)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(nothing)
