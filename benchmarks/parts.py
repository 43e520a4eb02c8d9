"""Parts of a measurement that has little time: each is kept once it is measured, in one file.

A part that would end too late is left out, one that fails does not end the others, and the file
says so. Another call measures some parts anew, and keeps the others of the same machine.
"""

from __future__ import annotations

import json
import math
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import write

PARTS = ("checks", "speed", "equivalence", "price", "together", "out_of_memory")
"""Keys under which the results of parts stand."""
SECONDS = 520
"""When the last part must have ended, from the start of the process: a call has nine minutes."""
VARYING = ("load", "peer")
"""What may differ between calls on one machine: the peer concerns the speeds alone."""


@contextmanager
def recorded(failed: dict[str, str], name: str) -> Iterator[None]:
    """Print an error and keep it under a name, so that what follows is still measured."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        failed[name] = f"{type(error).__name__}: {error}"


class TimeIsOver(BaseException):
    """The time for all parts is over; no `except Exception` in between holds it up."""


@dataclass(frozen=True, slots=True)
class Part:
    """One case of a part of the measurement.

    key: One of `PARTS`, which the results stand under.
    case: What it is about.
    expected_s: The seconds that it takes, by first readings on an H100.
    measure: Returns its row or rows.
    """

    key: str
    case: str
    expected_s: float
    measure: Callable[[], Any]

    @property
    def name(self) -> str:
        """Its name among the parts that failed or were left out."""
        return f"{self.key}: {self.case}"


class Parts:
    """Parts of the measurement, each of which is measured if it fits, and then written.

    until: When the part that is being measured should have ended, on `time.perf_counter`.

    Args:
        content: Where the results go; what it holds of an earlier call is kept.
        output: The file of the results.
        seconds: When the last part must have ended, from now.
        only: The keys of the parts that are measured; None for all.
    """

    def __init__(
        self, content: dict[str, Any], output: Path, seconds: float, only: Sequence[str] | None
    ) -> None:
        self._content, self._output, self._only = content, output, only or PARTS
        self._end = self.until = time.perf_counter() + seconds
        self.left_out: list[str] = content.get("left_out", [])
        self.failed: dict[str, str] = content.get("failed", {})

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._end - time.perf_counter()

    def measure_all(self, plan: Sequence[Part]) -> None:
        """Measure parts in turn; each may take its share of the time that is left."""
        wanted = [part for part in plan if part.key in self._only]
        for i, part in enumerate(wanted):
            share = part.expected_s / sum(each.expected_s for each in wanted[i:])
            self.until = time.perf_counter() + share * self.left_s
            self.measure(part)

    def measure(self, part: Part) -> None:
        """Measure a part, unless it would end too late; one that fails does not end the others."""
        if self.left_s < part.expected_s:
            self.left_out.append(part.name)
            self._write()
            return
        start = time.perf_counter()
        signal.signal(signal.SIGALRM, _end_part)
        signal.alarm(math.ceil(self.left_s))
        try:
            with recorded(self.failed, part.name):
                found = part.measure()
                rows = found if isinstance(found, list) else [found]
                self._content.setdefault(part.key, []).extend(rows)
        except TimeIsOver as over:
            self.failed[part.name] = str(over)
        finally:
            signal.alarm(0)
        print(f"  {part.name}: {time.perf_counter() - start:.1f} s", flush=True)
        self._write()

    def _write(self) -> None:
        self._content |= {"left_out": self.left_out, "failed": self.failed}
        write(self._content, self._output)


def _end_part(*_: object) -> None:
    raise TimeIsOver("the time for all parts is over")


def is_of_another_machine(earlier: Path, content: dict[str, Any]) -> bool:
    """Return whether there is an earlier measurement with other hardware or versions."""
    if not earlier.exists():
        return False
    found: dict[str, Any] = json.loads(earlier.read_text())
    return any(found.get(key) != value for key, value in content.items() if key not in VARYING)


def others_of(earlier: Path, content: dict[str, Any], only: Sequence[str]) -> dict[str, Any]:
    """Return the other parts of an earlier measurement, if it is of the same machine.

    With them come their cases that were left out or failed, and with the speeds the peer that was
    measured beside them.
    """
    if not earlier.exists():
        return {}
    if is_of_another_machine(earlier, content):
        print(f"{earlier} is of another machine or other versions: it is not kept")
        return {}
    found: dict[str, Any] = json.loads(earlier.read_text())
    others = [key for key in PARTS if key not in only]
    kept = {key: found[key] for key in others if key in found}
    if "speed" in kept:
        kept["peer"] = found.get("peer")
    left_out, failed = found.get("left_out", []), found.get("failed", {})
    kept["left_out"] = [name for name in left_out if _key(name) in others]
    kept["failed"] = {name: error for name, error in failed.items() if _key(name) in others}
    return {key: value for key, value in kept.items() if value}


def _key(name: str) -> str:
    """Return the key of a case that was left out or failed."""
    return name.partition(":")[0]


def output_for(given: Path, content: dict[str, Any]) -> Path:
    """Return where some parts go: beside the file if that is of another machine."""
    if not is_of_another_machine(given, content):
        return given
    beside = given.with_stem(f"{given.stem}-other")
    print(f"{given} is of another machine or other versions: writing {beside}")
    return beside
