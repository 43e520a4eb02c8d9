"""Exceptions that a person reads: the request was wrong, or the work could not go on."""

from __future__ import annotations

MESSAGE_CHARS = 480
"""Messages are cut to this in their middle: what they echo may be a whole file."""

_HEAD = 320
_CUT = " […] "


class InputError(ValueError):
    """One sentence for the person who asked: what is wrong, where, what to do.

    The command lines turn it into exit code 2 without a traceback. Whatever a message echoes, it
    stays one short line that no terminal takes for a command.
    """

    def __init__(self, message: str) -> None:
        """Escape what does not print, and leave out the middle of what is long."""
        super().__init__(_one_line(message))


class WorkError(RuntimeError):
    """One sentence for the person who waits: what ended the work, what is kept, how to go on.

    The command lines turn it into exit code 1 without a traceback. One short line, as above.
    """

    def __init__(self, message: str) -> None:
        """As `InputError`."""
        super().__init__(_one_line(message))


def _one_line(message: str) -> str:
    # Cut before and after: escapes make a text longer, and escaping megabytes takes a while.
    return _cut("".join(c if c.isprintable() else ascii(c)[1:-1] for c in _cut(message)))


def _cut(text: str) -> str:
    if len(text) <= MESSAGE_CHARS:
        return text
    return text[:_HEAD] + _CUT + text[len(text) - (MESSAGE_CHARS - _HEAD - len(_CUT)) :]
