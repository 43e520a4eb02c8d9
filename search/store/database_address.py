"""The address of a study's database, from an option or the environment."""

from __future__ import annotations

import os

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from dipstage.documents.plain_yaml import forbidden_in
from dipstage.errors import InputError
from search.store import STORAGE_VARIABLE


def storage_address(given: str | None = None) -> str | None:
    """Return the given address, or else the one in the environment; None means SQLite.

    Raises:
        InputError: The given address is none of a database.
    """
    if given is None:
        return os.environ.get(STORAGE_VARIABLE) or None
    if not isinstance(given, str) or not given or forbidden_in(given) is not None:
        raise unknown(str(given))
    parsed(given)
    return given


def refuse_password(address: str) -> None:
    """Reject an address with a password: process lists show command lines.

    Raises:
        InputError: If the address holds a password or is not a database address.
    """
    url = parsed(address)
    if url.password is not None or any("password" in key.lower() for key in url.query):
        raise InputError(
            "--storage holds a password, which process lists show: give the address in the "
            f"environment as {STORAGE_VARIABLE}, or the password in ~/.pgpass"
        )


def named(address: str) -> str:
    """Return what named a database: the environment or the option."""
    return STORAGE_VARIABLE if os.environ.get(STORAGE_VARIABLE) == address else "--storage"


def unknown(address: str) -> InputError:
    """Return the error for what is no address of a database."""
    # The address is not repeated: it may hold a password.
    return InputError(
        f"{named(address)} is no database address: write one such as postgresql://USER@HOST/NAME"
    )


def without_driver(address: str) -> InputError:
    """Return the error for a database whose driver is not installed."""
    asked, url = named(address), parsed(address)
    if url.get_backend_name() != "postgresql":
        return InputError(
            f"{asked} asks for {url.drivername}, whose driver is not installed: use PostgreSQL, as "
            "postgresql://USER@HOST/NAME, or install the driver"
        )
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return InputError(
            f"{asked} needs a driver that is not installed: pip install 'dipsearch[postgresql]'"
        )
    return InputError(
        f"{asked} asks for {url.drivername}, whose driver is not installed: begin the address with "
        "postgresql://"
    )


def parsed(address: str) -> URL:
    """Parse the address of a database; InputError if it is none, or of one that does not last."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # ValueError: the port is no number.
        raise unknown(address) from None
    if url.password is not None and "@" in f"{url.host}{url.database}":
        # Drivers repeat the name of the server, which is a part of the password here.
        raise InputError(f"{named(address)} has a second @: write @ in a password as %40")
    if url.get_backend_name() == "sqlite":
        file = url.database or ":memory:"
        if ":memory:" in file or "memory" in url.query.get("mode", ()):
            raise InputError(
                f"{named(address)} is a database in memory, which ends with the command: name a "
                "file, such as sqlite:////FOLDER/studies.db"
            )
    return url


def sqlite_file(url: URL) -> str | None:
    """Return the file of a SQLite database; None for a server."""
    return url.database if url.get_backend_name() == "sqlite" else None
