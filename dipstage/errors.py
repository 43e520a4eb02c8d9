"""The one exception that means: the request was wrong, not the work."""


class InputError(ValueError):
    """One sentence for the person who asked: what is wrong, where, what to do.

    The command lines turn it into exit code 2 without a traceback.
    """
