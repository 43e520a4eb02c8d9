"""Calls that are repeated until a server or an object storage answers."""

from __future__ import annotations

from tenacity import Retrying, stop_after_delay, wait_random_exponential
from tenacity.retry import retry_base

PATIENCE_S = 120.0
"""Maximum time in seconds that a call waits for an unreachable server."""


def patient(retry: retry_base, patience_s: float = PATIENCE_S) -> Retrying:
    """Return what repeats a call after longer and longer pauses, and at last raises its error.

    Args:
        retry: The errors after which a call is repeated.
        patience_s: Time in seconds after which it is not.
    """
    wait = wait_random_exponential(multiplier=0.2, max=5)
    return Retrying(retry=retry, wait=wait, stop=stop_after_delay(patience_s), reraise=True)
