"""A search for another task than denoising, from its launch to a verified export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from fake_runs import CONTENT, experiment

from dipstage.schedules.schedule_file import read_schedule_file
from search import launch
from search.cli import main
from search.execution.view import Quiet
from search.verification.declared import Request
from search.verification.drive import verify
from search.verification.export import choose, export
from search.verification.result import Verification


def test_an_inpainting_search_ends_in_a_verified_export(one_process: None, tmp_path: Path) -> None:
    inpaint = experiment(
        images=["skimage:astronaut"],
        task={"kind": "inpaint", "missing": 0.4},
        trainer={**CONTENT["trainer"], "example": "inpainting-kate", "skip_channels": 2},
        candidates=["baseline", "log10"],
        search={"trials": 2, "sampler": "random"},
        resources={"concurrent": 1},
    )
    run = launch(inpaint, runs_dir=tmp_path)
    records = run.records()
    assert {trial.state for trial in records} == {"complete"}
    for trial in records:
        for replicate in trial.replicates.values():
            own = replicate.observation_psnr_gt_db
            assert own is not None
            assert 5 < own < 14, "40 % of the pixels are black"
            assert replicate.raw.max_psnr_gt_db > own
            assert 0 < replicate.raw.max_ssim_gt <= 1
    shown = CliRunner().invoke(main, ["pareto", run.name, "--runs-dir", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "observations: " in " ".join(shown.output.split())

    staged = str(next(trial.number for trial in records if trial.candidate == "log10"))
    request = Request(
        images=("skimage:coffee", "skimage:rocket"), seeds=2, learning_rates=(0.01,), best=staged
    )
    verify(run, request, view=Quiet())
    verification = Verification.open(run)
    assert verification is not None
    held_out = verification.held_out
    assert held_out.experiment.task == inpaint.task
    assert held_out.experiment.trainer.upsampling == "nearest"
    measured = verification.measured(int(staged))
    assert measured is not None
    # Replicates are paired: all see the same holes.
    first = [held_out.curves(trial, "coffee-seed2") for trial in held_out.records()]
    assert len({float(curves["psnr_raw_db"][0]) for curves in first}) == 1
    assert all(np.isfinite(curves["psnr_gt_raw_db"]).all() for curves in first)

    file = read_schedule_file(export(run, choose(run, staged), tmp_path / "s.yaml"))
    assert file.measured is not None
    assert file.measured.task == {"kind": "inpaint", "missing": 0.4, "sigma_255": 0.0}
    assert file.verified is not None
    assert file.provenance is not None
    assert "measured on another task" in (file.provenance.origin or "")
