"""docs/results.md says what the published numbers say, and nothing older."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from played_verification import censor, gains, searched, verified
from published import PAIRS, Published
from publishing import publish

from search.presentation.rows import write_rows
from search.presentation.words import interval, ratio_interval
from search.verification.parts import TUNING

ROOT = Path(__file__).parents[1]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that publishes verifications and writes the page."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("results")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with nothing in it but the folders that the script writes to."""
    for folder in ("experiments/results", "docs/images"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_the_page_is_made_of_what_is_published(results: ModuleType) -> None:
    assert results.main(["--check"]) == 0, "run python benchmarks/results.py"


def test_schedule_files_that_a_published_experiment_needs_are_there_and_named(
    results: ModuleType,
) -> None:
    experiments, page = ROOT / "experiments", (ROOT / "docs/results.md").read_text()
    found = {path.parent: results.schedule_files(path.parent)
             for path in experiments.glob("results/*/experiment.yaml")}  # fmt: skip
    assert any(found.values())
    for folder, names in found.items():
        for name in names:
            assert any((each / name).exists() for each in (folder, experiments / "schedules"))
        assert not names or f"they need {' and '.join(names)} of `experiments/schedules`" in page


def test_without_a_published_verification_the_page_says_so(results: ModuleType, root: Path) -> None:
    (root / "experiments/results/earlier.md").write_text("## Measured before\n")
    assert results.main([], root) == 0
    page = (root / "docs/results.md").read_text()
    assert "No verification by today's rule has been published yet." in page
    assert page.endswith("\n## Measured before\n")
    assert not (root / "docs/images/results.svg").exists()
    assert results.main(["--check"], root) == 0


@pytest.mark.long
def test_a_published_run_is_on_the_page_and_in_the_figure(
    results: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = {"trial_2": (0.5, -10), "trial_5": (-0.3, 5)}
    verified(searched(root / "runs"), gains(**better), {2: "time", 5: "psnr"}, controls=True)
    assert results.main([str(root / "runs/tiny"), "--fact", "commit=c0ffee"], root) == 0
    page = (root / "docs/results.md").read_text()
    assert "**Of 2 claims, 1 is shown.**" in page
    assert "| trial 2 of `tiny` | faster | 0.78 [0.78, 0.78] |" in page
    assert "### trial 2, claimed to be faster: better\n" in page
    assert "p < 0.001 after Holm's correction for 2 claims, at a declared level of 0.05" in page
    assert "### trial 5, claimed to be higher in PSNR: not shown\n" in page
    for words in (
        "| plain DIP, highest PSNR and fastest (rate 0.01,", "| trial 2 reversed |",
        "| plain DIP as trial 2, averaged from", "| log10 (no reference) |", "| commit | c0ffee |",
        "- trial 2 was claimed in time alone; in PSNR it is only not worse.",
        "dipsearch verify tiny-again", "(../experiments/results/tiny/pairs.csv.gz)",
    ):  # fmt: skip
        assert words in page, words
    svg = (root / "docs/images/results.svg").read_text()
    assert "Schedules against tuned plain DIP" in svg
    assert "claimed faster: better" in svg
    assert results.main(["--check"], root) == 0
    pairs = root / "experiments/results/tiny/pairs.csv.gz"
    whole = pairs.read_bytes()
    pairs.write_bytes(_without_last_picture(whole))
    assert results.main(["--check"], root) == 1
    assert "not current: run python benchmarks/results.py" in capsys.readouterr().out
    pairs.write_bytes(whole)
    (root / "docs/images/results.svg").write_text("an older figure")
    assert results.main(["--check"], root) == 1


@pytest.mark.long
def test_the_page_counts_censored_maxima_of_the_tuning_once(
    results: ModuleType, root: Path
) -> None:
    run, folder = searched(root / "runs"), root / "experiments/results"
    verification = verified(run, gains(trial_2=(0.5, -10)), {2: "time"})
    publish(verification.run, folder / "tiny")
    assert "in the tuning of plain DIP" not in results.page(folder)
    censor(run, TUNING, 0)
    publish(verification.run, folder / "tiny")
    page = results.page(folder)
    assert page.count("maxima in the tuning of plain DIP") == 1
    assert "- The end of training may have cut off 4 of 12 raw maxima in the tuning of" in page
    assert "input noise 0.0333, ema 0.99) 4 of 4. Trained for more than 30 iterations" in page


@pytest.mark.long
def test_pairs_on_different_devices_are_stated_with_what_remains_without_them(
    results: ModuleType, root: Path
) -> None:
    run, folder = searched(root / "runs"), root / "experiments/results"
    verification = verified(run, gains(trial_2=(0.5, -10)), {2: "time"}, controls=True)
    published = publish(verification.run, folder / "tiny")
    for words in ("different devices", "another device", "pairs, on cpu)"):
        assert words not in results.page(folder)
    moved = {"coins", "moon"}
    gpu = [
        {**row, "reference_device": "H100"} if row["picture"] in moved else dict(row)
        for row in published.pairs
    ]
    write_rows(gpu, folder / "tiny" / PAIRS, own=True)
    mixed = Published.open(folder / "tiny")
    rest = Published(mixed.record, [row for row in published.pairs if row["picture"] not in moved])
    page = results.page(folder)
    assert "trainings ran on different devices; that of the reference is named second." in page
    assert "trainings ran on different devices; that of trial 2 is named second." in page
    compared = mixed.against_references("trial 2")
    for each, alone in zip(compared, rest.against_references("trial 2"), strict=True):
        assert alone.log_ratio is not None
        assert (
            f"| {each.reference} | 8 of 16: cpu and H100 | 8: cpu | "
            f"{ratio_interval(alone.log_ratio)} | {interval(alone.psnr_db, 2)} |\n"
        ) in page
    assert page.count(" (over 8 of 16 pairs, on cpu) |") == len(compared) + 1
    assert "- In up to 8 of 16 pairs with a reference, trial 2 ran on another device" in page


def test_what_was_measured_with_version_0_1_is_said_to_have_no_scores(
    results: ModuleType, root: Path
) -> None:
    folder = root / "experiments/results"
    assert "version 0.1" not in results.page(folder)
    (folder / "earlier.md").write_text("## Measured with version 0.1\n")
    assert "is an exception: it is a text, and the scores behind its" in results.page(folder)


def _without_last_picture(pairs: bytes) -> bytes:
    import gzip

    lines = gzip.decompress(pairs).decode().splitlines(keepends=True)
    return gzip.compress("".join(line for line in lines if ",page," not in line).encode())


def test_a_run_that_cannot_be_published_is_refused_in_one_line(
    results: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(root / "runs")
    assert results.main([str(root / "runs/tiny")], root) == 2
    assert capsys.readouterr().err == (
        "run 'tiny' has no finished verification with declared claims\n"
    )
    with pytest.raises(SystemExit):
        results.main(["--fact", "commit"], root)
