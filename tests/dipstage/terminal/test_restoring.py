"""dipstage restore as a person types it: what it writes and says."""

import functools
import itertools
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import imagecodecs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from typed_restorations import CLEAN, NOISY, TINY, integers, names, typed

from dipstage.documents import whole_files
from dipstage.restoration.arrays import as_pixels
from dipstage.restoration.choosing import STOPS, TASKS
from dipstage.restoration.restoring import Plan, Restored, planned, restore
from dipstage.schedules.settings import TrainerSettings
from dipstage.terminal.cli import main
from dipstage.terminal.restored_words import advice, cost

pytestmark = pytest.mark.usefixtures("folder")


def test_a_photograph_is_restored_beside_itself_as_python_does_it(folder: Path) -> None:
    result = typed("photo.png", "--schedule", "baseline")
    assert result.exit_code == 0, result.output
    assert names(folder) == {"photo-restored.png"}
    for words in ("noise: sigma 2", "schedule: baseline", "should take", "stopped: the budget"):
        assert words in result.output
    pixels = imagecodecs.png_decode(Path("photo.png").read_bytes())
    written = imagecodecs.png_decode(Path("photo-restored.png").read_bytes())
    plan = planned(as_pixels(pixels), schedule="baseline")
    settings = TrainerSettings(width=4, scales=2, input_noise_std=plan.settings.input_noise_std)
    own = restore(pixels, iterations=20, settings=settings, schedule="baseline")
    assert np.array_equal(written, integers(own.picture))


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "noticed"),
    [
        (("--sigma", "4"), True),
        (("--sigma", "4", "--compare"), True),
        (("--sigma", "9.9", "--size", "20"), True),
        ((), False),
    ],
)
def test_little_noise_is_noticed(options: tuple[str, ...], noticed: bool) -> None:
    result = typed("photo.png", *options)
    assert ("notice: there is little noise" in result.output) is noticed
    advised = "compare with classical methods (--compare)" in result.output
    assert advised is (noticed and "--compare" not in options)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("a.png", np.uint8), ("a.png", np.uint16), ("a.jpg", np.uint8), ("a.tif", np.uint16),
     ("a.webp", np.uint8)],
)  # fmt: skip
def test_formats_and_depths_stay(folder: Path, name: str, dtype: type) -> None:
    if name.endswith(".png"):
        Path(name).write_bytes(imagecodecs.png_encode(integers(NOISY, dtype)))
    elif name.endswith(".tif"):
        Path(name).write_bytes(imagecodecs.tiff_encode(integers(NOISY, dtype)))
    else:
        Image.fromarray(integers(NOISY)).save(name, quality=95)
    result = typed(name)
    assert result.exit_code == 0, result.output
    written = Path(name.replace("a", "a-restored", 1))
    decode = {".png": imagecodecs.png_decode, ".tif": imagecodecs.tiff_decode}.get(written.suffix)
    again = decode(written.read_bytes()) if decode else np.asarray(Image.open(written))
    assert again.shape == NOISY.shape
    assert again.dtype == dtype


def test_transparency_is_kept_as_it_was(folder: Path) -> None:
    alpha = np.arange(26 * 33, dtype=np.uint8).reshape(26, 33, 1)
    Path("a.png").write_bytes(imagecodecs.png_encode(np.dstack([integers(NOISY), alpha])))
    assert typed("a.png").exit_code == 0
    again = imagecodecs.png_decode(Path("a-restored.png").read_bytes())
    assert np.array_equal(again[..., 3:], alpha)


@pytest.mark.long
def test_every_output_is_written_and_they_differ(folder: Path) -> None:
    result = typed(
        "photo.png", "--output", "o.png", "--output-raw", "r.tif", "--preview", "p.webp",
        "--iterations", "60", "--width", "4", "--scales", "2", tiny=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert names(folder) == {"o.png", "r.tif", "p.webp"}
    smoothed = imagecodecs.png_decode(Path("o.png").read_bytes())
    assert not np.array_equal(smoothed, imagecodecs.tiff_decode(Path("r.tif").read_bytes()))


@functools.cache
def plain() -> bytes:
    """What is restored without further options; the photograph is the same in every folder."""
    result = typed("photo.png", "--output", "plain.png")
    assert result.exit_code == 0, result.output
    return Path("plain.png").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        ["--sigma", "50"], ["--schedule", "log10"], ["--stop", "none", "--runs", "2"],
        ["--seed", "1"], ["--runs", "2"], ["--iterations", "25"], ["--width", "5"],
        ["--scales", "3"], ["--size", "20"],
        ["--task", "inpaint", "--mask", "mask.png"],
        ["--task", "super_resolve", "--factor", "2"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_option_has_an_effect(folder: Path, options: list[str]) -> None:
    changed = CliRunner().invoke(
        main, ["restore", "photo.png", "--output", "changed.png", *TINY, *options]
    )
    assert changed.exit_code == 0, changed.output
    assert plain() != Path("changed.png").read_bytes()


@pytest.mark.parametrize(("option", "names"), [("task", TASKS), ("stop", STOPS)])
def test_every_task_and_every_rule_is_offered(option: str, names: tuple[str, ...]) -> None:
    (offered,) = (each for each in main.commands["restore"].params if each.name == option)
    assert isinstance(offered.type, click.Choice)
    assert tuple(offered.type.choices) == names


def test_sizes_shrink_the_longer_side_and_the_mask_along(folder: Path) -> None:
    result = typed("photo.png", "--size", "20", "--task", "inpaint", "--mask", "mask.png")
    assert result.exit_code == 0, result.output
    assert imagecodecs.png_decode(Path("photo-restored.png").read_bytes()).shape == (16, 20, 3)


@pytest.mark.long
def test_comparing_writes_pictures_and_the_truth_steers_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wavelets(pixels: NDArray[Any], **options: Any) -> NDArray[Any]:
        assert options["convert2ycbcr"] is True
        assert options["sigma"] == pytest.approx(25 / 255)
        return pixels * 0.5

    monkeypatch.setattr("skimage.restoration.denoise_wavelet", wavelets)
    sigma = ("--sigma", "25")
    alone = typed("photo.png", *sigma, "--output", "alone.png")
    both = typed("photo.png", *sigma, "--output", "o.png", "--compare", "--truth", "clean.png")
    assert (alone.exit_code, both.exit_code) == (0, 0), both.output
    assert Path("alone.png").read_bytes() == Path("o.png").read_bytes()
    assert names(folder) == {"alone.png", "o.png", "o-non-local-means.png", "o-wavelets.png"}
    assert "wavelets written to o-wavelets.png" in both.output
    rows = {line[:15].strip(): line.split() for line in both.output.splitlines()}
    psnr = -10 * np.log10(np.mean((integers(NOISY) / 255 - integers(CLEAN) / 255) ** 2))
    assert float(rows["photograph"][-1]) == pytest.approx(psnr, abs=0.01)
    assert float(rows["non-local means"][-1]) > psnr + 2
    halved = imagecodecs.png_decode(Path("o-wavelets.png").read_bytes())
    assert np.abs(halved - integers(NOISY) / 2).max() <= 1


def test_restorations_at_the_same_time_get_files_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another restoration of the photograph ends while the first one trains."""
    others: list[str] = []
    run = Plan.run

    def slow(plan: Plan, **options: Any) -> Restored:
        restored = run(plan, **options)
        if not others:
            others.append("ended")
            assert typed("photo.png", "--seed", "1").exit_code == 0
        return restored

    monkeypatch.setattr(Plan, "run", slow)
    result = typed("photo.png", "--compare", "--output-raw", "photo-restored-2.png")
    assert result.exit_code == 0, result.output
    assert "written to photo-restored-3.png" in result.output
    assert names(folder) == {
        "photo-restored.png", "photo-restored-2.png", "photo-restored-3.png",
        "photo-restored-3-non-local-means.png", "photo-restored-3-wavelets.png",
    }  # fmt: skip
    assert len({path.read_bytes() for path in folder.glob("photo-restored*.png")}) == 5


def test_a_truth_is_scaled_to_the_restored_sides(folder: Path) -> None:
    """Half of 13.4 rows is rounded before they are doubled, so the truth cannot round its own."""
    twice = np.kron(integers(CLEAN), np.ones((2, 2, 1), np.uint8))
    Path("twice.png").write_bytes(imagecodecs.png_encode(twice))
    task = ("--task", "super_resolve", "--factor", "2")
    result = typed("photo.png", *task, "--size", "17", "--truth", "twice.png", "--output", "o.png")
    assert result.exit_code == 0, result.output
    assert imagecodecs.png_decode(Path("o.png").read_bytes()).shape == (26, 34, 3)
    assert "PSNR (dB)" in result.output


@pytest.mark.long
def test_several_runs_say_how_they_share_the_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    said = {}
    for threads in ("2", "1"):
        monkeypatch.setattr("torch.get_num_threads", lambda n=int(threads): n)
        result = typed(
            "photo.png", "--runs", "2", "--threads", threads, "--output", f"{threads}.png"
        )
        assert result.exit_code == 0, result.output
        said[threads] = " ".join(result.output.split())
    assert "2 runs, all at the same time; Ctrl-C ends it" in said["2"]
    assert "2 runs, one after the other; Ctrl-C ends it" in said["1"]
    assert "40 iterations in" in said["2"]
    assert Path("1.png").read_bytes() == Path("2.png").read_bytes()


@pytest.mark.long
def test_it_says_what_is_restored_and_what_to_do_next(folder: Path) -> None:
    def said(*options: str) -> str:
        result = typed("photo.png", *options)
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    alone = said()
    assert "photograph: 33 × 26 pixels noise: sigma 2" in alone
    assert "If it is blurred, raise --iterations; if it is still noisy, raise --sigma." in alone
    assert "--compare shows their results" in alone
    assert "--compare shows" not in said("--compare")
    smaller = said("--size", "20", "--task", "inpaint", "--mask", "mask.png")
    assert "photograph: 20 × 16 pixels, made smaller from 33 × 26 pixels missing: " in smaller
    assert "estimated in the smaller photograph" in said("--size", "20")
    assert "(where any of the mask's pixels that one replaces is black), the others " in smaller
    assert "If it is blurred, raise --iterations" in smaller
    noisy = said("--task", "inpaint", "--mask", "mask.png", "--sigma", "9")
    assert "missing: 15.4% of the pixels (black in the mask), all are restored" in noisy
    larger = said("--task", "super_resolve", "--factor", "2")
    assert "photograph: 33 × 26 pixels, enlarged to 66 × 52" in larger


def test_a_smaller_size_is_named_where_it_would_help() -> None:
    def said(side: int, seconds: float, one_thread_s: float | None = None) -> str:
        plan = planned(np.full((side, 32, 1), 0.5, np.float32), sigma_255=25, schedule="baseline")
        return cost(plan, seconds, 1, 1, "cpu", one_thread_s)

    assert "should take at most 20 min 00 s and about" in said(512, 1200)
    assert "; with --size 256 about 5 min 00 s; Ctrl-C" in said(512, 1200)
    assert "--size" not in said(512, 299)
    assert "--size" not in said(256, 1200)
    assert "with --threads 1, as other programs use the cores, 10 min 00 s;" in said(64, 1200, 600)
    assert "--threads" not in said(64, 1200, 1300)
    assert "should take at most 1 s and about" in said(64, 0.2)


@pytest.mark.long
def test_one_thread_is_measured_where_all_take_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def estimated_s(*_: object) -> float:
        return 500.0 * torch.get_num_threads()

    monkeypatch.setattr(Plan, "estimated_s", estimated_s)
    monkeypatch.setattr("dipstage.terminal.restoring.use_threads", lambda *_: None)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        done = typed("photo.png", "--yes")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert "should take at most 25 min 00 s" in " ".join(done.output.split())
    assert "with --threads 1, as other programs use the cores, 8 min 20 s" in " ".join(
        done.output.split()
    )


def test_advice_depends_on_how_the_training_ended() -> None:
    blurred = "If it is blurred, "
    assert next(advice("denoise", "emv", True, True)).startswith(f"{blurred}lower --sigma;")
    assert next(advice("denoise", "emv", True, False)).startswith(f"{blurred}raise --iterations;")
    without_rule = next(advice("denoise", "none", True, False))
    assert without_rule == f"{blurred}raise --iterations; if it is grainy, lower --iterations."


@pytest.mark.long
def test_a_preview_that_cannot_be_written_is_one_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = whole_files.write_whole

    def full(path: Path, content: bytes | str) -> None:
        if path.name == "p.png" and path.exists():
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(whole_files, "write_whole", full)
    options = ["--width", "4", "--scales", "1", "--iterations", "160", "--sigma", "25"]
    result = typed("photo.png", "--preview", "p.png", *options, tiny=False)
    assert result.exit_code == 0, result.output
    notice = "notice: p.png cannot be written: No space left on device; the training goes on"
    assert result.output.count(notice) == 1
    assert names(folder) == {"p.png", "photo-restored.png"}


@pytest.mark.long
def test_a_second_restoration_takes_a_new_name(folder: Path) -> None:
    assert typed("photo.png", "--iterations", "1").exit_code == 0
    first = Path("photo-restored.png").read_bytes()
    assert typed("photo.png", "--iterations", "1").exit_code == 0
    assert names(folder) == {"photo-restored.png", "photo-restored-2.png"}
    assert Path("photo-restored.png").read_bytes() == first


def test_an_interrupt_keeps_the_best_so_far(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    always = nullcontext(lambda: True)
    monkeypatch.setattr("dipstage.interrupts.deferred", lambda: always)
    result = typed("photo.png")
    assert result.exit_code == 130
    assert "interrupted after 1 iterations" in result.output
    assert names(folder) == {"photo-restored.png"}


@pytest.mark.parametrize(("runs", "calls"), [("1", 20), ("3", 25)], ids=["at the end", "in run 2"])
def test_an_interrupt_counts_although_a_run_is_complete(
    monkeypatch: pytest.MonkeyPatch, runs: str, calls: int
) -> None:
    asked = itertools.count()
    interrupted = nullcontext(lambda: next(asked) >= calls)
    monkeypatch.setattr("dipstage.interrupts.deferred", lambda: interrupted)
    result = typed("photo.png", "--runs", runs, "--threads", "1", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["stop"] == "interrupted"
    assert "If it is blurred" not in result.stderr
    assert ("used; 2 interrupted, diverged or not" in result.stderr) == (runs == "3")
