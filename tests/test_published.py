"""What is published of a verification, and that the verdicts follow from it alone."""

import csv
import gzip
import socket
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from played_verification import CLAIMS, IMAGES, gains, searched, verified
from published import PAIRS, RECORD, REPLICATES, Published
from publishing import publish

from dipstage.errors import InputError
from search.verification.result import Verification
from search.verification.verdicts import Verdict, Word

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Verification, Path]:
    """Trial 2 is faster, and trial 5 is as good when it is reversed; with the published folder."""
    folder = tmp_path_factory.mktemp("published")
    better = {"trial_2": (0.5, -10), "trial_5": (0.5, 0), "trial_5_reversed": (0.5, 0)}
    score = gains(**better, trial_3=(-0.5, -10))
    verification = verified(searched(folder), score, CLAIMS, controls=True)
    publish(verification.run, folder / "results", commit="c0ffee")
    return verification, folder / "results"


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def test_verdicts_follow_from_the_published_numbers(made: tuple[Verification, Path]) -> None:
    verification, folder = made
    published = Published.open(folder)
    trained = {trial.name: trial.schedule for trial in verification.held_out.records()}
    assert {each.name: each.schedule for each in published.record.schedules} == trained
    assert published.claims == {"trial 2": "time", "trial 3": "time", "trial 5": "psnr"}
    for name in published.claims:
        assert published.verdict(name) == verification.verdict_of(name)
        mine, theirs = published.controls(name), verification.unbroken(name)
        assert [c.schedule for c in mine if c.verdict.word is Word.NOT_WORSE] == theirs
    assert published.is_better("trial 2")
    assert not published.is_better("trial 3")
    assert len(published.comparisons) == len(verification.comparisons)
    for ours in published.comparisons:
        [other] = (
            c for c in verification.comparisons
            if (c.schedule, c.reference, c.output) == (ours.schedule, ours.reference, ours.output)
        )  # fmt: skip
        for field in fields(ours):
            assert getattr(ours, field.name) == getattr(other, field.name), field.name


def test_p_is_the_largest_over_references_after_holm_s_correction(
    made: tuple[Verification, Path],
) -> None:
    verification, folder = made
    published = Published.open(folder)
    gates = published.against_references("trial 2")
    assert {c.reference for c in gates} == verification.references("trial 2")
    assert {c.p_time for c in gates} == {published.p("trial 2")}
    hardest = published.hardest("trial 2")
    assert hardest is not None
    assert hardest.time.high == max(c.time.high for c in gates if c.time.high is not None)


def test_a_reference_without_a_training_leaves_a_published_claim_open(
    made: tuple[Verification, Path],
) -> None:
    published = Published.open(made[1])
    late = next(r for r in published.against_references("trial 2") if "averaged" in r.reference)
    pairs = [row for row in published.pairs if row["reference"] != late.reference]
    without = Published(published.record, pairs)
    assert published.is_better("trial 2")
    assert without.verdict("trial 2") == Verdict()
    assert without.hardest("trial 2") is None
    assert without.p("trial 2") == 1


def test_times_are_the_first_updates_at_which_both_curves_reach_the_target(
    made: tuple[Verification, Path],
) -> None:
    verification, folder = made
    trials = {trial.name: trial for trial in verification.held_out.records()}
    found = rows(folder / PAIRS)
    for row in found[::7]:
        if row["output"] == "smoothed":
            key = f"{row['picture']}-seed{row['seed']}"
            ours, theirs = (
                verification.held_out.curves(trials[row[of]], key)["psnr_gt_smoothed_db"]
                for of in ("schedule", "reference")
            )
            target = min(ours.max(), theirs.max()) - np.float32(0.1)
            assert int(row["time"]) == np.flatnonzero(ours >= target)[0] + 1
            assert int(row["reference_time"]) == np.flatnonzero(theirs >= target)[0] + 1
    assert {row["part"] for row in found} == {"verification"}


def test_all_scores_of_all_trainings_are_kept(made: tuple[Verification, Path]) -> None:
    verification, folder = made
    found = rows(folder / REPLICATES)
    held = [row for row in found if row["run"] == "tiny/verification"]
    records = verification.held_out.records()
    assert len(held) == sum(len(trial.replicates) for trial in records)
    assert {row["role"] for row in held} == {"plain", "found", "candidate", "control"}
    assert {row["run"] for row in found} == {"tiny", "tiny/learning-rate", "tiny/verification"}
    assert {row["role"] for row in found if row["run"] == "tiny"} == {"candidate", "sampled"}
    row = held[0]
    replicate = records[0].replicates[f"{row['picture']}-seed{row['seed']}"]
    assert float(row["smoothed_max_psnr_gt_db"]) == replicate.smoothed.max_psnr_gt_db
    assert row["raw_censored"] == str(replicate.raw.censored)


def test_seconds_are_iterations_times_the_pace_of_the_training(
    made: tuple[Verification, Path],
) -> None:
    published = Published.open(made[1])
    [hardest] = [published.hardest("trial 2")]
    assert hardest is not None
    (ours, theirs), seconds = published.costs(hardest)
    assert ours < theirs
    assert seconds is not None
    assert seconds.ours == pytest.approx(ours * 2.5 / 30, rel=1e-4)
    assert seconds.theirs == pytest.approx(theirs * 2.5 / 30, rel=1e-4)
    assert (seconds.device, seconds.pairs) == ("cpu", 16)
    elsewhere = [{**row, "reference_device": "cuda"} for row in published.pairs]
    assert Published(published.record, elsewhere).costs(hardest) == ((ours, theirs), None)


def test_nothing_published_names_a_machine_or_a_folder(made: tuple[Verification, Path]) -> None:
    verification, folder = made
    texts = [
        (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        for path in folder.iterdir()
    ]
    assert len(texts) == 4
    for text in texts:
        assert str(verification.run.folder.parent) not in text
        assert "host" not in text
        assert socket.gethostname() not in text.split()
    record = Published.open(folder).record
    assert record.plan.images == IMAGES
    assert record.facts["commit"] == "c0ffee"
    assert "torch 2.13.0" in record.facts["versions, verification"]
    assert any("trial 5 reversed is not worse" in line for line in record.remarks)
    assert record.commands[1].startswith("dipsearch verify tiny-again --images skimage:coins")


def test_the_same_run_gives_the_same_numbers(
    made: tuple[Verification, Path], tmp_path: Path
) -> None:
    verification, folder = made
    publish(verification.run, tmp_path / "again")
    for name in (PAIRS, REPLICATES):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_what_cannot_be_published_or_read_is_refused(tmp_path: Path) -> None:
    run = searched(tmp_path)
    with pytest.raises(InputError, match="'tiny' has no finished verification with declared"):
        publish(run, tmp_path / "results")
    with pytest.raises(InputError, match=RECORD):
        Published.open(tmp_path)
