"""Schedule files and command lines that repeat a run's trials: what a report holds of them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.errors import InputError
from dipstage.schedules.schedule_file import compact_text
from dipstage.schedules.stopping import OUTPUTS
from dipstage.tasks.registry import task_files, task_text, with_files
from dipstage.terminal.numbers import at
from search.store.records import Trial
from search.store.replicate import Replicate, ReplicateKey
from search.store.run import RunRecord
from search.store.suggested import run_words, shown_path
from search.verification.export import schedule_file

if TYPE_CHECKING:
    from search.verification.result import Verification


@dataclass(frozen=True, slots=True)
class Repeat:
    """The schedule file and the commands that repeat a trial.

    Args:
        name: Name of the schedule file.
        text: Content of the schedule file.
        lines: Command for each finished replicate, by its key.
        scores: What each of them must give, by its key.
    """

    name: str
    text: str
    lines: dict[str, str]
    scores: dict[str, str]

    @property
    def size(self) -> int:
        """Size as JSON, in bytes."""
        return len(json.dumps(asdict(self)))


class Repeater:
    """Makes what repeats the trials of a run; it reads the run's attributes once."""

    def __init__(self, run: RunRecord, verification: Verification | None = None) -> None:
        """Read what all trials share. The schedule files hold the results of the verification."""
        self._run, self._verification = run, verification
        self._pictures, self._options = picture_arguments(run), _options(run)

    def of(self, trial: Trial) -> Repeat | None:
        """Return what repeats a trial; None if it has finished no replicate.

        The lines name all that a schedule file leaves open: picture, size, files of the task, seed,
        the oracle, and threads and device, on which sums depend.
        """
        if trial.schedule is None or not trial.replicates:
            return None
        name, lines = file_name(self._run, trial), {}
        for key, replicate in trial.replicates.items():
            parsed = ReplicateKey.parse(key)
            # Records name a device by its hardware.
            device = "cpu" if replicate.device == "cpu" else "cuda"
            options = [*self._options, "--seed", str(parsed.seed), "--device", device]
            picture = self._pictures.get(parsed.picture, "PICTURE")
            lines[key] = f"dipstage run {picture} {shlex.join(['--schedule', name, *options])}"
        content = schedule_file(self._run, trial, self._verification)
        scores = {key: _scores(replicate) for key, replicate in trial.replicates.items()}
        return Repeat(name, compact_text(content), lines, scores)


def _scores(replicate: Replicate) -> str:
    """Return the maxima of both outputs, as `dipstage run` prints them."""
    found = ((output, replicate.scores(output)) for output in OUTPUTS)
    return ", ".join(
        f"{output} {at(each.max_psnr_gt_db, each.steps_to_max, censored=bool(each.censored))}"
        for output, each in found
    )


def unrepeatable(run: RunRecord) -> str:
    """Say why no command repeats the trials of a run; empty if there are commands."""
    rule = run.objective.stop
    if rule == "oracle":
        return ""
    return (
        f"The trials of this search were stopped by {rule.upper()}, a rule that dipstage run does "
        "not have, so no command repeats them. dipsearch export writes their schedule files."
    )


def repeats(
    run: RunRecord, trials: Sequence[Trial], verification: Verification | None, room: int
) -> dict[int, Repeat]:
    """Return what repeats each trial by its number, up to the first that does not fit.

    Nothing does if the run is `unrepeatable`.

    trials: the most important first. room: available size in bytes.
    """
    found: dict[int, Repeat] = {}
    if unrepeatable(run):
        return found
    repeater = Repeater(run, verification)
    for trial in trials:
        made = repeater.of(trial)
        if made is not None:
            room -= made.size
            if room < 0:
                break
            found[trial.number] = made
    return found


def file_name(run: RunRecord, trial: Trial) -> str:
    """Return a name for a trial's schedule file that no shell has to quote."""
    return re.sub(r"[^\w.-]+", "-", f"{run.name}-{trial.name}") + ".yaml"


def first_picture(run: RunRecord, *, whole_paths: bool = False) -> str:
    """Return the argument that names the run's first picture, and its size and task as options.

    whole_paths: see `observing_options`.
    """
    names = list(picture_arguments(run, whole_paths=whole_paths).values())
    options = observing_options(run, whole_paths=whole_paths)
    return " ".join([names[0] if names else "PICTURE", *map(shlex.quote, options)])


def picture_arguments(run: RunRecord, *, whole_paths: bool = False) -> dict[str, str]:
    """Return the argument that names each picture, by its label.

    Pictures near the current folder are named by relative paths, those below the home folder from
    `~`. Of others the name alone is given: reports are passed on, and folders are private.

    whole_paths: see `observing_options`.
    """
    from dipstage.pictures.images import expand

    labels, images = list(run.attributes.pictures), run.experiment.images
    try:
        images = expand(images)
    except InputError:  # A pattern that matches nothing here.
        return {}
    if len(images) != len(labels):
        return {}
    shown = map(shlex.quote if whole_paths else _picture, images)
    return dict(zip(labels, shown, strict=True))


def _picture(name: str) -> str:
    if name.startswith("skimage:"):
        return shlex.quote(name)
    return shown_path(Path(name)) or shlex.quote(Path(name).name)


def _shown_name(name: str) -> str:
    """Return the name of a file of a task without the quotes of a shell."""
    return shlex.split(_picture(name))[0]


def observing_options(run: RunRecord, *, whole_paths: bool = False) -> list[str]:
    """Return the options by which a picture is observed as in a run: size, and a task with files.

    Args:
        run: The run.
        whole_paths: Whether files are named as in the experiment, as on the terminal. Otherwise
            they are named as in reports, see `picture_arguments`.
    """
    task, size = run.experiment.task, run.experiment.size
    options = ["--size", str(size)] if size else []
    # A schedule file says on which task it was measured, but not in which folders the files are.
    if files := task_files(task):
        shown = files if whole_paths else {key: _shown_name(files[key]) for key in files}
        options += ["--task", task_text(with_files(task, shown))]
    return options


def run_argument(run: RunRecord) -> str:
    """Return the run's name with the option for its folder, unless that is `runs`."""
    return run_words(run.folder, private=True)


def _options(run: RunRecord) -> list[str]:
    """Return the options that all replicates of a run share."""
    experiment = run.experiment
    options = observing_options(run)
    oracle, watched = experiment.trainer.oracle_stop, experiment.objective.output
    if oracle:
        is_word = isinstance(oracle, str) and (oracle != "decided" or watched == "smoothed")
        options += ["--oracle-stop", str(oracle) if is_word else watched]
    asked = experiment.resources.cpus_per_trial
    cores = run.attributes.cores or (None if asked == "auto" else asked)
    return options + (["--threads", str(cores)] if cores else [])
