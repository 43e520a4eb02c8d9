"""A trial is repeated from the report alone: its schedule file and its command lines."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fake_runs import CONTENT, experiment, new_run, trial
from PIL import Image

from dipstage.randomness import Streams
from dipstage.schedules.schedule_file import read_schedule_file
from dipstage.terminal.cli import main
from dipstage.terminal.numbers import at
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import fit
from search import Run
from search.execution.ledger import Ledger
from search.experiment.prepare import load_pictures, loaded_task
from search.presentation.repeating import (
    Repeater,
    _options,
    first_picture,
    repeats,
    run_argument,
    unrepeatable,
)
from search.report import page
from search.store.attributes import write
from search.store.replicate import ReplicateKey


def trained(run: Run) -> dict[tuple[int, str], Outcome]:
    """Train every replicate of a run as its workers would, and record it; the outcomes."""
    from search.execution.training import summarise

    pictures, tiny = load_pictures(run.experiment), run.experiment
    task = loaded_task(tiny)
    keys = [str(ReplicateKey(label, seed)) for label in pictures for seed in tiny.seeds]
    ledger, outcomes = Ledger(run.study, tiny, keys), {}
    while (work := ledger.next()) is not None:
        for key in keys:
            replicate = ReplicateKey.parse(key)
            picture = pictures[replicate.picture]
            truth, streams = picture.tensor(), Streams(picture.digest, replicate.seed)
            made = fit(
                task.observe(truth, streams), truth, work.schedule, tiny.trainer, streams,
                stopping=tiny.trainer.stopping(tiny.objective.output),
            )  # fmt: skip
            patience = tiny.trainer.patience
            summary = summarise(made, tiny.objective, 12, 0.0, patience=patience)
            ledger.record(work.number, key, summary)
            outcomes[work.number, key] = made
        ledger.finish(work.number, None)
    return outcomes


def repeats_of(html: str) -> dict[str, Any]:
    """What a report holds to repeat trials."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])["repeats"]
    return content


@pytest.mark.ray
def test_a_report_repeats_every_replicate_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = {
        "iterations": 60, "width": 6, "scales": 1, "input_depth": 5, "skip_channels": 2,
        "upsampling": "nearest", "patience": 9, "oracle_stop": "both", "warmup": 3,
    }  # fmt: skip
    space = {
        **CONTENT["space"],
        "stages": {"low": 3, "high": 5},
        "learning_rate": {"low": 0.004, "high": 0.02},
        "ramp_learning_rate": {"low": 0.004, "high": 0.02},
        "input_noise_std": {"low": 0.01, "high": 0.06},
        "ema": {"low": 0.9, "high": 0.99},
    }
    tiny = experiment(
        trainer=trainer, space=space, seeds=[3], search={"trials": 2}, candidates=["baseline"],
        task={"kind": "denoise", "sigma_255": 20.0},
    )  # fmt: skip
    run = new_run(tmp_path, tiny)
    write(run.study, cores=1)
    outcomes = trained(run)
    repeats = repeats_of(page.make(run).text)
    assert sorted(repeats) == ["0", "1", "2"]
    there = tmp_path / "elsewhere"
    there.mkdir()
    monkeypatch.chdir(there)
    for (number, key), made in outcomes.items():
        found = repeats[str(number)]
        raw = made.raw
        assert raw is not None
        reached = at(raw.max_psnr_gt_db, raw.steps_to_max, censored=raw.censored)
        assert found["scores"][key].startswith(f"raw {reached}, smoothed ")
        Path(found["name"]).write_text(found["text"])
        program, *arguments = shlex.split(found["lines"][key])
        assert program == "dipstage"
        done = CliRunner().invoke(main, [*arguments, "--output", f"{number}-{key}"])
        assert done.exit_code == 0, done.output
        assert (Path(f"{number}-{key}") / "curves.csv").read_text() == made.trace.csv()
    exported = read_schedule_file(run.export("1", tmp_path / "exported.yaml"))
    text = read_schedule_file(Path(repeats["1"]["name"]))
    assert (text.schedule, text.measured) == (exported.schedule, exported.measured)


@pytest.mark.ray
def test_the_lines_of_a_task_with_a_mask_name_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = tmp_path / "my masks" / "m.png"
    mask.parent.mkdir()
    known = np.full((16, 16), 255, np.uint8)
    known[:5] = 0
    Image.fromarray(known).save(mask)
    tiny = experiment(
        images=["skimage:camera"], seeds=[3], search={"trials": 0}, candidates=["log10"],
        task={"kind": "inpaint", "mask": str(mask), "sigma_255": 5.0},
    )  # fmt: skip
    run = new_run(tmp_path, tiny)
    write(run.study, cores=1)
    [((_, key), made)] = trained(run).items()
    monkeypatch.chdir(tmp_path)
    found = Repeater(run).of(run.records()[0])
    assert found is not None
    option = """--task 'inpaint:mask="my masks/m.png",sigma_255=5.0'"""
    assert option in found.lines[key]
    Path(found.name).write_text(found.text)
    arguments = shlex.split(found.lines[key])[1:]
    done = CliRunner().invoke(main, [*arguments, "--output", "again"])
    assert done.exit_code == 0, done.output
    assert (Path("again") / "curves.csv").read_text() == made.trace.csv()
    assert first_picture(run) == f"skimage:camera --size 16 {option}"
    monkeypatch.chdir(mask.parent)
    assert f'mask="{mask}",sigma_255=5.0' in first_picture(run, whole_paths=True)


def test_no_line_repeats_what_was_stopped_by_a_rule_that_dipstage_run_does_not_have(
    tmp_path: Path,
) -> None:
    played = trial(0, 25.0, 10, candidate="baseline")
    run = new_run(tmp_path, experiment())
    [made] = repeats(run, [played], None, 10**6).values()
    assert made.lines.keys() == made.scores.keys() == played.replicates.keys()
    assert unrepeatable(run) == ""
    run = new_run(tmp_path / "emv", experiment(objective={"stop": "emv"}))
    assert not repeats(run, [played], None, 10**6)
    assert "stopped by EMV" in unrepeatable(run)
    assert f'"unrepeatable":"{unrepeatable(run)}"' in page.make(run).text


@pytest.mark.parametrize(
    ("asked", "watched", "word"),
    [
        (True, "raw", "raw"),
        ("both", "raw", "both"),
        ("decided", "raw", "raw"),
        ("decided", "smoothed", "decided"),
        ("late", "raw", "late"),
    ],
)
def test_the_oracle_is_named_as_the_command_line_names_it(
    tmp_path: Path, asked: Any, watched: str, word: str
) -> None:
    run = new_run(tmp_path, experiment(objective={"output": watched}))
    object.__setattr__(run.experiment.trainer, "oracle_stop", asked)  # "late" is a rule to come.
    assert _options(run)[-2:] == ["--oracle-stop", word]


def test_commands_name_the_run_s_folder_and_its_first_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_argument(new_run(tmp_path / "runs", experiment())) == "tiny"
    run = new_run(tmp_path / "other", experiment())
    assert run_argument(run) == "tiny --runs-dir other"
    assert first_picture(run) == "skimage:chelsea --size 16"
