"""Drivers in processes of their own, and how they and their workers are found and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil


def dipsearch(
    *arguments: str, runs_dir: Path | str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """A command of dipsearch that was started; its two outputs are one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "search.cli", *arguments, "--runs-dir", str(runs_dir)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def finish(
    *arguments: str, runs_dir: Path | str, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Exit code and output of a command of dipsearch."""
    process = dipsearch(*arguments, runs_dir=runs_dir, environment=environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Look again and again; fails the test when it has not happened by then."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def descendants(process: psutil.Process | subprocess.Popen[str]) -> list[psutil.Process]:
    """What a process has started, and what that has; none once it has ended."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> str:
    """Nothing for a process that has ended or that is another user's."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def trainers(process: psutil.Process | subprocess.Popen[str]) -> list[psutil.Process]:
    """Ray workers under a process that train at this moment."""
    return [p for p in descendants(process) if command_line(p).split(" ")[0].endswith(".train")]


def kill(process: psutil.Process) -> None:
    """By SIGKILL; one that has ended by itself is as good."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def kill_tree(process: subprocess.Popen[str]) -> None:
    """The driver by SIGKILL, then what its Ray leaves behind, each by its id."""
    children = descendants(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for child in children:
        kill(child)
