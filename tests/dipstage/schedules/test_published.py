"""Published schedules: which one is taken, what it says, and what may not be published."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from published_schedules import HIGHER, VERIFIED, content, publish

import dipstage
from dipstage.errors import InputError
from dipstage.schedules.published import FOLDER, Published, is_published, published
from dipstage.schedules.schedule_file import Gain, Verified, save_schedule


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of published schedules in the place of the package's."""
    publish(tmp_path)
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path)
    return tmp_path


SHIPPED = ["denoise-sigma25-128-fast", "denoise-sigma25-64-best", "denoise-sigma25-64-fast"]


def test_the_package_has_the_published_schedules() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_schedule_in_the_package_is_better_in_what_its_name_says(name: str) -> None:
    found = Published.read(FOLDER / f"{name}.yaml")
    assert found.verified.verdict.startswith("better")
    assert found.evidence


@pytest.mark.parametrize(
    ("size", "sigma_255", "name"),
    [
        (64, 25.0, "denoise-sigma25-64-fast"),
        (512, 20.0, "denoise-sigma25-64-fast"),
        (30, 25.0, "denoise-sigma25-16-fast"),
        (34, 25.0, "denoise-sigma25-64-fast"),
        (64, 40.0, "denoise-sigma50-64-fast"),
        (64, 0.0, "denoise-sigma25-64-fast"),
    ],
)
def test_the_nearest_size_and_noise_are_taken(size: int, sigma_255: float, name: str) -> None:
    assert published("fast", size, sigma_255).name == name
    assert published("best", size, sigma_255).name == "denoise-sigma25-64-best"


def test_the_schedule_is_rescaled_to_budget_and_noise() -> None:
    found = published("fast", 64)
    assert found.schedule() == content(64).schedule
    wider = found.schedule(50, 50.0)
    assert wider == content(64).rescaled(50, 50.0)
    assert wider.iterations == 50
    assert wider.ramp == 10
    assert wider.stages[0].alpha_bar == pytest.approx(0.2 / (0.2 + 4 * 0.8))


def test_the_evidence_names_verdict_pictures_seeds_and_intervals() -> None:
    assert published("fast", 64).evidence == (
        "denoise-sigma25-64-fast (trial 12 of a-search), better (PSNR not worse, time better) than "
        "tuned plain DIP on 3 held-out pictures × 2 seeds: time ratio 0.74 [0.68, 0.81], PSNR "
        "+0.11 [+0.02, +0.20] dB (95 % intervals, against plain DIP, highest PSNR)"
    )
    words = published("best", 64).evidence
    assert words.index("PSNR +0.11") < words.index("time ratio 0.74")


def test_ends_of_intervals_in_the_evidence_do_not_touch_what_they_exclude() -> None:
    found = published("fast", 64)
    near = replace(
        found.verified,
        time_ratio=Gain(mean=0.9, low=0.8, high=0.9968),
        max_psnr_gt_db=Gain(mean=0.1, low=0.0034, high=0.2),
    )
    words = replace(found, verified=near).evidence
    assert "time ratio 0.90 [0.80, 0.997], PSNR +0.10 [+0.003, +0.20] dB" in words


def test_a_run_that_differs_from_the_verification_is_told_so() -> None:
    found = published("fast", 64)
    schedule = found.schedule()
    assert found.beyond(64, 64, 25.0, (4, 1), schedule) == ""
    assert found.beyond(64, 64, 25.0, (4, 1), found.schedule(5000)) == ""
    assert found.beyond(96, 64, 25.0, (4, 1), schedule) == (
        "not verified for 96 × 64 pixels: the evidence is for 64 × 64 pixels, sigma 25, width 4, "
        "1 scales and a ramp of 10 iterations"
    )
    assert "not verified for sigma 30:" in found.beyond(
        64, 64, 30.0, (4, 1), found.schedule(None, 30.0)
    )
    other = replace(schedule, recipe=replace(schedule.recipe, learning_rate=0.1))
    assert "a network of width 8 and 2 scales, another recipe:" in found.beyond(
        64, 64, 25.0, (8, 2), other
    )
    assert found.in_short(["96 × 64 pixels", "sigma 30"]) == (
        "faster than plain DIP on 3 other pictures of 64 × 64 pixels, sigma 25; not tested for "
        "96 × 64 pixels and sigma 30"
    )
    short = found.beyond(64, 64, 25.0, (4, 1), found.schedule(9))
    assert "not verified for a ramp of 3 iterations:" in short


def test_without_a_file_of_the_kind_one_sentence_says_so(folder: Path) -> None:
    (folder / "denoise-sigma25-64-best.yaml").unlink()
    with pytest.raises(InputError, match="no schedule is published as best yet: name a preset"):
        published("best", 64)
    with pytest.raises(InputError, match="kind must be fast or best, got 'better'"):
        published("better", 64)
    assert [is_published(text) for text in ("fast", "best", "log10", "fast.yaml")] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "verified", "words"),
    [
        ("denoise-sigma25-64-best", VERIFIED, "best needs the verdict better in psnr, got"),
        ("denoise-sigma25-64-fast", HIGHER, "fast needs the verdict better in time, got"),
        (
            "denoise-sigma25-64-fast", replace(VERIFIED, verdict="not worse"),
            "fast needs the verdict better in time, got 'not worse' in time",
        ),
        ("denoise-sigma25-64-fast", replace(VERIFIED, endpoint=None), "better in time, got"),
        ("denoise-sigma25-64-fast", replace(VERIFIED, seen=["a.png"]), "verified.seen must be"),
        ("denoise-sigma25-64-fast", None, "a published schedule needs measured, verified"),
        ("denoise-sigma15-64-fast", VERIFIED, "the name must say sigma and size of measured, 25"),
        ("denoise-sigma25-128-fast", VERIFIED, "the name must say sigma and size of measured"),
        ("mine-fast", VERIFIED, "the name must be like denoise-sigma25-64-fast, got 'mine-fast'"),
    ],
)  # fmt: skip
def test_what_was_not_shown_is_refused(
    tmp_path: Path, name: str, verified: Verified | None, words: str
) -> None:
    path = tmp_path / f"{name}.yaml"
    save_schedule(path, content(64, verified=verified))
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: .*{re.escape(words)}"):
        Published.read(path)


def test_it_is_public() -> None:
    assert dipstage.published is published
