"""Pack what a search needs on a cluster: its experiment, what that names, and the code."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dipstage
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.pictures.images import expand, split_options
from dipstage.schedules.presets import is_preset
from dipstage.schedules.published import is_published
from dipstage.tasks.registry import task_files, with_files
from search.execution.learning import learn
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates, load_pictures, refuse_early_end
from search.remote.archive import read_study
from search.store.folders import path_exists
from search.store.paths import find_run, runs_path

EXPERIMENT = "experiment.yaml"
RUNS_DIR = "dipsearch-runs"
"""Default folder of runs on the head of a cluster, relative to its user's home."""
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True, slots=True)
class Submission:
    """A search to start or resume on a cluster.

    trials, hours: with `resume`, the totals to continue to.
    """

    experiment: Experiment
    runs_dir: str = RUNS_DIR
    resume: bool = False
    trials: int | None = None
    hours: float | None = None
    accept_changes: bool = False

    def __post_init__(self) -> None:
        """Refuse a folder that contains credentials, which Ray would show."""
        if "://" in self.runs_dir and "@" in urlsplit(self.runs_dir).netloc:
            raise InputError(
                "--runs-dir contains credentials, which Ray would show to everyone: set them in "
                "the environment of the cluster's head instead"
            )

    @property
    def entrypoint(self) -> str:
        """The shell command that the head runs."""
        words = ["launch", EXPERIMENT]
        if self.resume:
            words = ["resume", self.experiment.name, "--experiment", EXPERIMENT]
            totals = {"--trials": self.trials, "--hours": self.hours}
            words += [f"{key}={total}" for key, total in totals.items() if total is not None]
            words += ["--accept-changes"] * self.accept_changes
        words += ["--address", "auto"]
        runs_dir = quoted_for_head(self.runs_dir)
        return f"exec python -m search.cli {shlex.join(words)} --runs-dir {runs_dir}"


def quoted_for_head(runs_dir: str) -> str:
    """Quote a folder for the shell of the head. A relative folder is in its user's home."""
    if "://" in runs_dir or runs_dir.startswith("/"):
        return shlex.quote(runs_dir)
    return f'"$HOME"/{shlex.quote(runs_dir.removeprefix("~/"))}'


def check(experiment: Experiment, *, resume: bool = False) -> list[str]:
    """Load everything that the driver will load, so that errors appear before anything is sent.

    Returns notices about changes that were made to the pictures when they were loaded, and about
    what is looked up or stays on the cluster's head. resume: the run is there already.
    """
    if not resume:
        refuse_early_end(experiment)
    pictures = load_pictures(experiment)
    candidates = load_candidates(experiment)
    notices = [notice for picture in pictures.values() for notice in picture.notices]
    here = runs_here(experiment)
    learn(_learning_from(experiment, list(here)), candidates, runs_path(), None)
    notices += [
        f"search.learn_from: there is no run {entry!r} here: it is looked up on the cluster's head"
        for entry in experiment.search.learn_from
        if entry not in here
    ]
    if (folder := experiment.logging.mlflow) is not None and folder.startswith("/"):
        notices.append(
            f"logging.mlflow: the cluster's head writes to its own {folder}, which fetch does not "
            "copy: name a tracking server to have the logs here"
        )
    return notices


def runs_here(experiment: Experiment) -> dict[str, Path]:
    """Return the folders of the runs of `search.learn_from` that are on this machine, by entry.

    Raises:
        InputError: If an entry is a path, but not to the folder of a run.
    """
    found = {}
    for entry in experiment.search.learn_from:
        try:
            found[entry] = find_run(entry)
        except InputError as error:
            if "/" in entry and "://" not in entry:
                raise InputError(f"search.learn_from: {error}") from None
    return found


def _learning_from(experiment: Experiment, runs: list[str]) -> Experiment:
    search = experiment.search.model_copy(update={"learn_from": runs})
    return experiment.model_copy(update={"search": search})


def pack_search(experiment: Experiment, folder: Path) -> None:
    """Fill an empty folder with what a search needs, and nothing else.

    Every picture and schedule file gets a folder of its own and keeps its name. So files of the
    same name do not collide, and labels, which come from file names, are the same as here.
    """
    images = [
        entry if entry.startswith("skimage:") else _copy_alone(entry, folder, f"pictures/{i:03d}")
        for i, entry in enumerate(expand(experiment.images))
    ]
    candidates = [
        entry
        if is_preset(entry) or is_published(entry)
        else _copy_alone(entry, folder, f"candidates/{i:03d}")
        for i, entry in enumerate(experiment.candidates)
    ]
    files = {
        key: _copy_alone(name, folder, f"task/{key}")
        for key, name in task_files(experiment.task).items()
    }
    runs = {
        entry: _copy_run(run, folder, f"learn_from/{i:03d}")
        for i, (entry, run) in enumerate(runs_here(experiment).items())
    }
    experiment = _learning_from(
        experiment, [runs.get(entry, entry) for entry in experiment.search.learn_from]
    )
    there = experiment.model_copy(
        update={
            "images": images,
            "candidates": candidates,
            "task": with_files(experiment.task, files),
        }
    )
    write_whole(folder / EXPERIMENT, there.yaml())
    pack_code(folder)


def pack_code(folder: Path) -> None:
    """Copy both packages, so that the cluster runs the same code as this machine."""
    for source in (Path(dipstage.__path__[0]), Path(__file__).parents[1]):
        shutil.copytree(source, folder / source.name, ignore=_NOT_COPIED)


def _copy_run(run: Path, folder: Path, where: str) -> str:
    """Copy what a sampler learns from: a run's experiment, and its study unless in a database."""
    there = folder / where / run.name
    there.mkdir(parents=True)
    (there / "experiment.yaml").write_bytes((run / "experiment.yaml").read_bytes())
    if path_exists(run / "study.db"):
        (there / "study.db").write_bytes(read_study(run / "study.db"))
    return f"{where}/{run.name}"


def _copy_alone(entry: str, folder: Path, where: str) -> str:
    """Copy a file into a folder of its own, and return its path in the upload."""
    source, _ = split_options(entry)
    path = f"{where}/{Path(source).name}"
    (folder / where).mkdir(parents=True)
    try:
        shutil.copyfile(source, folder / path)
    except OSError as error:
        raise InputError(f"{entry} cannot be read: {error.strerror}") from None
    return path + entry[len(source) :]
