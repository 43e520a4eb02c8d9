"""What a search takes along to a cluster: its experiment, the files that it names, this code."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dipstage
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.images import expand
from dipstage.presets import is_preset
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates, load_pictures

EXPERIMENT = "experiment.yaml"
RUNS_DIR = "dipsearch-runs"
"""Where runs live on a cluster's head, from its user's home."""
_LEFT_HERE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True, slots=True)
class Submission:
    """What is asked of a cluster. trials: with `resume`, how many to go on to."""

    experiment: Experiment
    runs_dir: str = RUNS_DIR
    resume: bool = False
    trials: int | None = None
    accept_changes: bool = False

    def __post_init__(self) -> None:
        """Refuse a folder that names a password, which Ray would show."""
        if "://" in self.runs_dir and "@" in urlsplit(self.runs_dir).netloc:
            raise InputError(
                "--runs-dir holds credentials, which Ray would show to everybody: leave them to "
                "the environment of the cluster's head"
            )

    @property
    def entrypoint(self) -> str:
        """The shell's line on the head."""
        name, file = self.experiment.name, EXPERIMENT
        words = ["resume", name, "--experiment", file] if self.resume else ["launch", file]
        if self.resume and self.trials is not None:
            words += ["--trials", str(self.trials)]
        if self.resume and self.accept_changes:
            words.append("--accept-changes")
        words += ["--address", "auto"]
        return f"exec python -m search.cli {shlex.join(words)} --runs-dir {on_head(self.runs_dir)}"


def on_head(runs_dir: str) -> str:
    """A folder as a word of the head's shell; one that is not absolute lies in its user's home."""
    if "://" in runs_dir or runs_dir.startswith("/"):
        return shlex.quote(runs_dir)
    return f'"$HOME"/{shlex.quote(runs_dir.removeprefix("~/"))}'


def check(experiment: Experiment) -> list[str]:
    """Load all that the driver would load; InputError before anything is sent.

    Returns what was changed on loading, in words.
    """
    pictures = load_pictures(experiment)
    load_candidates(experiment)
    return [notice for picture in pictures.values() for notice in picture.notices]


def pack_search(experiment: Experiment, folder: Path) -> None:
    """Fill an empty folder with all that a search needs, and nothing else.

    Every picture and schedule file gets a folder of its own and keeps its name: files of one name
    do not collide, and labels, which come from file names, are what they would be here.
    """
    images = [
        entry if entry.startswith("skimage:") else _carry(entry, folder, f"pictures/{i:03d}")
        for i, entry in enumerate(expand(experiment.images))
    ]
    candidates = [
        entry if is_preset(entry) else _carry(entry, folder, f"candidates/{i:03d}")
        for i, entry in enumerate(experiment.candidates)
    ]
    there = experiment.model_copy(update={"images": images, "candidates": candidates})
    write_whole(folder / EXPERIMENT, there.yaml())
    pack_code(folder)


def pack_code(folder: Path) -> None:
    """Copy both packages as they run here, so that the cluster runs the same code."""
    for source in (Path(dipstage.__path__[0]), Path(__file__).parents[1]):
        shutil.copytree(source, folder / source.name, ignore=_LEFT_HERE)


def _carry(entry: str, folder: Path, where: str) -> str:
    """Copy a file into a folder of its own; its path in the upload."""
    path = f"{where}/{Path(entry).name}"
    (folder / where).mkdir(parents=True)
    try:
        shutil.copyfile(entry, folder / path)
    except OSError as error:
        raise InputError(f"{entry} cannot be read: {error.strerror}") from None
    return path
