"""A check of the head of a cluster before anything is uploaded."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires

from dipstage.errors import InputError
from search.execution.logging_wanted import LOGGERS
from search.remote.upload import Submission, quoted_for_head
from search.store.versions import NUMBERS_DEPEND_ON, versions

MARK = "dipsearch-head "
"""Beginning of the line in the job's log; other lines are ignored."""
_OLDEST = (3, 11, 4)
_QUESTION = """
import importlib.metadata, importlib.util, json, os, sys
folder, packages, modules = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print("dipsearch-head " + json.dumps({
    "python": list(sys.version_info[:3]),
    "packages": {name: version(name) for name in packages},
    "missing": [name for name in modules if importlib.util.find_spec(name) is None],
    "exists": os.path.exists(os.path.join(folder, "experiment.yaml")),
}))
"""
"""A program for the head's own Python, without this project's code."""


@dataclass(frozen=True, slots=True)
class Head:
    """Versions and runs on the head.

    Args:
        python: Version of Python.
        packages: Version of each package that was asked for; None for a missing one.
        missing: Modules that the experiment's loggers need and that the head lacks.
        exists: Whether the run exists on the head's disk.
    """

    python: tuple[int, ...]
    packages: dict[str, str | None]
    missing: list[str]
    exists: bool

    @classmethod
    def read(cls, log: Iterable[str]) -> Head:
        """Read the answer in the output of the job that asked."""
        for line in "".join(log).splitlines():
            if line.startswith(MARK):
                found = json.loads(line.removeprefix(MARK))
                return cls(**found | {"python": tuple(found["python"])})
        raise InputError("the cluster's head cannot run python: install this project there")


def question(submission: Submission) -> str:
    """Return the shell command that asks the head."""
    logging = submission.experiment.logging
    modules = [module for key, module in LOGGERS.items() if getattr(logging, key)]
    name = shlex.quote(submission.experiment.name)
    folder = f"{quoted_for_head(submission.runs_dir)}/{name}"
    program, packages, loggers = map(
        shlex.quote, (_QUESTION, " ".join(_requirements()), " ".join(modules))
    )
    return f"exec python -c {program} {folder} {packages} {loggers}"


def check(head: Head, submission: Submission) -> list[str]:
    """Return notices about other versions than here.

    Raises:
        InputError: If the name is taken, if there is no run to resume, or if the head lacks
            packages.
    """
    from packaging.specifiers import SpecifierSet

    lacks = [] if head.python >= _OLDEST else [f"Python {'.'.join(map(str, _OLDEST))} or newer"]
    for name, wanted in _requirements().items():
        found = head.packages[name]
        if found is None:
            lacks.append(f"{name}{wanted}")
        elif not SpecifierSet(wanted).contains(found, prereleases=True):
            lacks.append(f"{name}{wanted} (it has {found})")
    lacks += head.missing
    if lacks:
        raise InputError(f"the cluster's head lacks {', '.join(lacks)}: install them there")
    name, where = submission.experiment.name, submission.runs_dir
    if "://" not in where and head.exists and not submission.resume:
        raise InputError(
            f"run {name!r} exists in {where} on the cluster's head: continue it with --resume, or "
            "choose another --name"
        )
    if "://" not in where and submission.resume and not head.exists:
        raise InputError(
            f"there is no run {name!r} in {where} on the cluster's head: leave out --resume, or "
            "name its --runs-dir"
        )
    here = versions()
    return [
        f"the cluster's head has {name} {head.packages[name]} and this machine {here[name]}: "
        "scores can differ in their last digits"
        for name in NUMBERS_DEPEND_ON
        if name in here and head.packages.get(name) not in (None, here[name])
    ]


def _requirements() -> dict[str, str]:
    """Return the packages that this project needs, each with the versions that will do."""
    from packaging.requirements import Requirement

    try:
        found = [Requirement(text) for text in requires("dipsearch") or []]
    except PackageNotFoundError:
        # The code may run although it is not installed as a package.
        return {name: "" for name in versions() if name not in ("python", "dipsearch")}
    return {each.name: str(each.specifier) for each in found if each.marker is None}
