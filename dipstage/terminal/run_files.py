"""The folder of a training, and the files that `dipstage run` writes to it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.errors import InputError, WorkError
from dipstage.terminal.input_files import file_of_name, refuse_overwriting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from dipstage.schedules.schedule import Schedule
    from dipstage.training.outcome import Outcome

FILES = (
    "curves.csv",
    "ground_truth.png",
    "observation.png",
    "best_raw.png",
    "best_smoothed.png",
    "curves.png",
)
"""Files of a run; the first three exist even if it diverged at once."""
_SNAPSHOT = re.compile(r"(raw|smoothed)-\d{7}\.png")


def output_folder(
    output: Path | None,
    label: str,
    schedule_name: str,
    seed: int,
    inputs: Sequence[str],
    snapshots: bool,
) -> Path:
    """Make and return the folder that was asked for, or a new one under out/.

    Args:
        output: Value of `--output`.
        label: Name of the picture.
        schedule_name: Name of a preset or path of a schedule file.
        seed: Seed of the run.
        inputs: All that the run reads: picture, schedule, files of the task.
        snapshots: Whether snapshots will be written.

    Raises:
        InputError: The folder cannot be written, or writing would destroy an input or a file that
            no run has written.
    """
    name = f"{label}-{_label(schedule_name)}-seed{seed}"
    folder = output or Path("out") / name
    number = 1
    while output is None and _is_taken(folder):
        number += 1
        folder = Path("out") / f"{name}-{number}"
    _make(folder)
    _refuse_to_destroy(folder, inputs, snapshots)
    return folder


def _label(schedule_name: str) -> str:
    """Return the name of a preset or a file for use in a folder's name."""
    from dipstage.schedules.presets import is_preset

    text = schedule_name if is_preset(schedule_name) else Path(schedule_name).stem
    return text.replace(":", "-").replace("=", "").replace(",", "-")


def _is_taken(folder: Path) -> bool:
    """Return whether something has a folder's name, such as a run that began at the same time.

    Otherwise make it, or leave it to `_make` to say why it cannot be made.
    """
    try:
        folder.mkdir(parents=True)
    except OSError:
        return os.path.lexists(folder)
    return False


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise InputError(f"--output {folder} is no folder: name one, or a new one") from None
        raise InputError(f"--output {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--output {folder} cannot be written: choose another folder")


def _refuse_to_destroy(folder: Path, inputs: Sequence[str], snapshots: bool) -> None:
    """Raise InputError for what this run would destroy: its own inputs, and files of others.

    Pictures are only replaced beside the curves of an earlier run.
    """
    from dipstage.documents.whole_files import refuse_to_replace
    from dipstage.training.outcome import Trace

    outputs = [folder / name for name in FILES]
    for given in inputs:
        name = file_of_name(given).name
        snapshot = (snapshots or outputs[0].exists()) and _SNAPSHOT.fullmatch(name)
        replaced = [*outputs, folder / "snapshots" / name] if snapshot else outputs
        refuse_overwriting(given, replaced, "another --output")
    for path in outputs:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file: remove it, or choose another --output")
    header = ",".join(["iteration", *Trace.__dataclass_fields__])
    refuse_to_replace(outputs[0], "a CSV table", header.encode())
    for path in outputs[1:]:
        if path.exists() and not outputs[0].exists():
            raise InputError(f"{path} exists, and no run has written it: choose another --output")


def snapshot_folder(folder: Path) -> Path:
    """Make the folder of snapshots, without those of an earlier run."""
    kept = folder / "snapshots"
    _make(kept)
    _remove_snapshots(kept)
    return kept


def _remove_snapshots(kept: Path) -> None:
    for path in [*kept.iterdir()] if kept.is_dir() else []:
        if _SNAPSHOT.fullmatch(path.name):
            path.unlink()


def keep_snapshot(folder: Path, iteration: int, pictures: Tensor) -> None:
    """Write both outputs of an iteration, (2, C, H, W), to the folder of snapshots."""
    from dipstage.documents.whole_files import write_asked
    from dipstage.pictures.images import png
    from dipstage.schedules.stopping import OUTPUTS

    try:
        for name, pixels in zip(OUTPUTS, pictures.cpu().numpy(), strict=True):
            write_asked(folder / f"{name}-{iteration:07d}.png", png(pixels), own=True)
    except (InputError, WorkError) as error:
        raise WorkError(
            f"{error}; the training ended after {iteration} iterations, and only earlier "
            "snapshots are kept: make room, and train again"
        ) from None


def write_run(
    folder: Path,
    truth: NDArray[np.float32],
    observed: Tensor,
    outcome: Outcome,
    schedule: Schedule,
    title: str,
    snapshots: bool,
) -> None:
    """Write curves and pictures of a run; `title` is that of the plot.

    Without `snapshots`, those of an earlier run are removed.

    Raises:
        WorkError: A file cannot be written. Those before it are there, and none of an earlier run
            beside them.
    """
    from dipstage.documents.whole_files import write_asked
    from dipstage.pictures.images import png
    from dipstage.terminal.plots import plot_curves, save_figure

    written: list[str] = []

    def write(name: str, content: bytes | str) -> None:
        write_asked(folder / name, content, own=True)
        written.append(name)

    try:
        earlier = (folder / FILES[0]).exists()
        write("curves.csv", outcome.trace.csv())
        if earlier and not snapshots:
            _remove_snapshots(folder / "snapshots")
            with suppress(OSError):  # Others may keep files there.
                (folder / "snapshots").rmdir()
        write("ground_truth.png", png(truth))
        write("observation.png", png(observed[0].numpy()))
        if not outcome.iterations:
            # Files of an earlier run would be mistaken for this run's.
            for name in FILES[3:]:
                (folder / name).unlink(missing_ok=True)
            return
        write("best_raw.png", png(outcome.best_raw))
        write("best_smoothed.png", png(outcome.best_smoothed))
        if outcome.stop == "interrupted":
            title += f" (interrupted after {outcome.iterations} iterations)"
        save_figure(plot_curves(outcome, schedule, title), folder / "curves.png", own=True)
    except (InputError, WorkError) as error:
        kept = f"{folder} holds {', '.join(written)} of this training"
        if written:
            for name in set(FILES) - set(written):
                (folder / name).unlink(missing_ok=True)
        else:
            kept = f"nothing is kept of this training, and {folder} is as it was"
        raise WorkError(f"{error}; {kept}: make room, and train again") from None
