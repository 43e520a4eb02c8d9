"""Exceptions for people: the request was wrong, or the work could not continue."""

from __future__ import annotations

MESSAGE_CHARS = 480
"""Longer messages lose their middle: what they echo may be a whole file."""

_HEAD = 320
_CUT = " […] "


class InputError(ValueError):
    """The request was wrong. The message says what is wrong, where, and what to do.

    The command lines print it without a traceback and exit with code 2. A message is always one
    short printable line, whatever it echoes.
    """

    def __init__(self, message: str) -> None:
        """Escape characters that do not print, and shorten long messages in their middle."""
        super().__init__(_one_line(message))


class WorkError(RuntimeError):
    """The work ended early. The message says why, what is kept and how to continue.

    The command lines print it without a traceback and exit with code 1. One short printable line.
    """

    def __init__(self, message: str) -> None:
        """See `InputError`."""
        super().__init__(_one_line(message))


def brief(error: BaseException) -> str:
    """Return an error's message on one line of at most 200 characters."""
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words[:200] or type(error).__name__


def _one_line(message: str) -> str:
    # Cut before and after: escapes make a text longer, and escaping megabytes takes a while.
    return _cut("".join(c if c.isprintable() else ascii(c)[1:-1] for c in _cut(message)))


def _cut(text: str) -> str:
    if len(text) <= MESSAGE_CHARS:
        return text
    return text[:_HEAD] + _CUT + text[len(text) - (MESSAGE_CHARS - _HEAD - len(_CUT)) :]
