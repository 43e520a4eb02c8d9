"""How a command that is interrupted ends, and what it refuses of its environment."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest
from click.testing import CliRunner

from dipstage.interrupts import terminable
from dipstage.terminal.console import Commands, make_console, wide_option


@contextmanager
def fails_when_cut_off() -> Iterator[None]:
    """Code that an interrupt leaves unable to clear up."""
    try:
        yield
    except KeyboardInterrupt:
        raise RuntimeError("cut off") from None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stays_one_whatever_fails_on_its_way(number: int) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        terminable(),
        fails_when_cut_off(),
        terminable(),
        fails_when_cut_off(),
    ):
        os.kill(os.getpid(), number)


def test_a_failure_without_an_interrupt_is_told_as_it_is() -> None:
    with pytest.raises(KeyboardInterrupt), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(RuntimeError, match="of its own"), terminable():
        raise RuntimeError("of its own")


def test_a_command_that_is_interrupted_ends_with_130() -> None:
    @click.group(cls=Commands)
    def main() -> None:
        pass

    @main.command()
    def work() -> None:
        with fails_when_cut_off():
            os.kill(os.getpid(), signal.SIGTERM)

    done = CliRunner().invoke(main, ["work"])
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_name_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, wide: bool, terminal: bool
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", str(int(terminal)))
    monkeypatch.setenv("COLUMNS", "300")
    path = f"/{'long' * 20}/{'name' * 30}/scan:o:.png"

    @click.group(cls=Commands)
    def main() -> None:
        pass

    @main.command()
    @wide_option
    def work() -> None:
        make_console().print(f"written to {path}", markup=False)

    done = CliRunner().invoke(main, ["work", *["--wide"] * wide])
    assert done.output == f"written to {path}\n"


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("abc", "SOURCE_DATE_EPOCH must be whole seconds since 1970, got 'abc': correct it"),
        ("-5", "got '-5'"),
        ("1.5", "got '1.5'"),
        ("99999999999999999", "got '99999999999999999'"),
        ("", ""),
        ("1700000000", ""),
    ],
)
def test_a_date_that_libraries_cannot_read_is_refused(
    date: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", date)

    @click.group(cls=Commands)
    def main() -> None:
        pass

    @main.command()
    def work() -> None:
        assert os.environ.get("SOURCE_DATE_EPOCH") == (date or None)

    done = CliRunner().invoke(main, ["work"])
    assert done.exit_code == (2 if said else 0)
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)
