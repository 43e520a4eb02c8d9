"""The names that a run may have."""

RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
RUN_NAME_WORDS = "letters, digits, dots, dashes and underscores, at most 100"
