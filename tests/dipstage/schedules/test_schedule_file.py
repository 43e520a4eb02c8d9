"""Schedule files: exact round trips, and refusals that name the key."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dipstage.documents.plain_yaml import read_yaml, yaml_text
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.renamed import FormerName
from dipstage.schedules.controls import in_reverse
from dipstage.schedules.noise import AnyNoiseLevels, NoiseLevels, TotalNoiseLevels
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Family, Schedule
from dipstage.schedules.schedule_file import (
    Measure,
    Measured,
    OutputMeasures,
    Provenance,
    ScheduleFile,
    compact_text,
    load_schedule,
    read_schedule_file,
    save_schedule,
)
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.splits import AnySplit, FreeSplit, LogSplit, PowerSplit

SPLITS: list[AnySplit] = [PowerSplit(2.06), LogSplit(), FreeSplit((0.1, 0.2, 0.30000000000000004))]
SIGMOID = NoiseLevels("sigmoid", 1 / 3)


def full(split: AnySplit, noise: AnyNoiseLevels = SIGMOID) -> ScheduleFile:
    """A file with every key."""
    family = Family(4, split, 97, noise)
    recipe = Recipe("variance-exploding", "fresh", 0.01, 0.02, 1 / 30, 0.99, None, "stage", 7)
    measures = OutputMeasures(
        Measure(27.1, 8, 0.1 + 0.2), Measure(301.5, 8, 1e-9), Measure(0.8, 1), Measure(290.0, 1), 2
    )
    return ScheduleFile(
        schedule=family.schedule(600, recipe),
        family=family,
        measured=Measured(
            images=["skimage:chelsea", "a b.png"],
            sigma_255=25.0,
            seeds=[0, 1],
            trainer=TrainerSettings(iterations=600, width=32, scales=4, learning_rate=1e-3),
            output="raw",
            raw=measures,
            smoothed=measures,
            size=64,
        ),
        provenance=Provenance("quickstart", 7, "2026-01-01T00:00:00+00:00", {"torch": "2.13.0"}),
    )


def test_the_origin_says_what_is_rescaled() -> None:
    file = full(PowerSplit(2.06))
    assert file.origin(600, 25.0) == "trial 7 of quickstart; not rescaled"
    assert file.origin(1300, 25.0) == (
        "trial 7 of quickstart; iterations 600 → 1300, the ramp keeps its 97"
    )
    assert file.origin(90, 50.0) == (
        "trial 7 of quickstart; iterations 600 → 90, all stages are shortened; noise levels and "
        "sigma × 2, input noise 0.0333 → 0.0471"
    )
    bare = ScheduleFile(file.schedule)
    assert bare.origin(600, 50.0) == (
        "a schedule file; noise levels as they are, because the file names no sigma"
    )


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: type(split).__name__)
def test_round_trip_is_exact(tmp_path: Path, split: AnySplit) -> None:
    path = tmp_path / "best.yaml"
    save_schedule(path, full(split))
    assert read_schedule_file(path) == full(split)
    first = path.read_bytes()
    save_schedule(path, read_schedule_file(path))
    assert path.read_bytes() == first


def test_controls_out_of_order_survive_a_file_and_no_other_file_names_the_order(
    tmp_path: Path,
) -> None:
    schedule = parse_preset("log10").schedule(200)
    control, path = in_reverse(schedule), tmp_path / "s.yaml"
    save_schedule(path, ScheduleFile(control))
    again = load_schedule(path)
    assert again == control
    assert again.rescaled(100) == control.rescaled(100)
    write_whole(path, compact_text(ScheduleFile(control)))
    assert load_schedule(path) == control
    write_whole(path, path.read_text().replace("any_order: true\n", ""))
    with pytest.raises(InputError, match="stages must go from the most noise to the least"):
        load_schedule(path)
    in_order = Schedule.from_pairs(schedule.pairs, any_order=True)
    assert compact_text(ScheduleFile(in_order)) == compact_text(ScheduleFile(schedule))
    assert "any_order" not in compact_text(ScheduleFile(schedule))


def test_levels_by_total_noise_survive_a_file(tmp_path: Path) -> None:
    content = full(LogSplit(), TotalNoiseLevels(25.0, 300.0, 28.0, 7.0))
    save_schedule(tmp_path / "s.yaml", content)
    assert read_schedule_file(tmp_path / "s.yaml") == content


def test_numbers_of_numpy_are_saved_as_those_of_python(tmp_path: Path) -> None:
    """Such as a noise that `estimate_sigma` has estimated."""
    levels = TotalNoiseLevels(np.float64(25), np.float32(300), np.int64(28))  # type: ignore[arg-type]
    family = Family(np.int64(4), PowerSplit(np.float64(2)), np.int32(97), levels)  # type: ignore[arg-type]
    numbers = {"learning_rate": np.float64(0.1), "ema_gamma": np.float32(2), "average_from": 3.0}
    words = {"target": np.str_("contrast"), "ema_restart": np.str_("stage")}
    recipe = Recipe(**{**numbers, **words, "width": np.int64(32)})  # type: ignore[arg-type]
    schedule = family.schedule(np.int64(600), recipe).rescaled(700, np.float64(1.1))  # type: ignore[arg-type]
    content = ScheduleFile(schedule, family)
    save_schedule(tmp_path / "s.yaml", content)
    assert read_schedule_file(tmp_path / "s.yaml") == content
    write_whole(tmp_path / "s.yaml", compact_text(content))
    assert read_schedule_file(tmp_path / "s.yaml") == content
    assert Schedule.from_pairs(json.loads(json.dumps(schedule.pairs)), recipe) == schedule
    assert Recipe.from_plain(json.loads(json.dumps(recipe.to_plain()))) == recipe
    counts = np.array([40, 200], np.float32)
    assert Schedule.of([0.5, 1.0], counts) == Schedule.of([0.5, 1.0], [40, 200])


def test_a_file_of_the_first_format_has_the_learning_rate_that_it_was_measured_with(
    tmp_path: Path,
) -> None:
    content = full(LogSplit())
    old = replace(content, schedule=replace(content.schedule, recipe=Recipe()))
    path = tmp_path / "s.yaml"
    save_schedule(path, old)
    plain = read_yaml(path)
    del plain["recipe"]
    write_whole(path, yaml_text({**plain, "format": 1}))
    assert load_schedule(path) == replace(old.schedule, recipe=Recipe(learning_rate=1e-3))


@pytest.mark.parametrize("preset", ["baseline", "uniform", "sharp-linear:stages=50", "log10"])
def test_presets_survive_a_file(tmp_path: Path, preset: str) -> None:
    schedule = parse_preset(preset).schedule(777)
    save_schedule(tmp_path / "s.yaml", ScheduleFile(schedule, preset=preset))
    assert load_schedule(tmp_path / "s.yaml") == schedule


WHOLE = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.long
@given(st.dictionaries(st.text(), st.floats(allow_nan=False) | WHOLE | st.text()))
def test_yaml_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    printable = {k: v for k, v in content.items() if k.isprintable() and str(v).isprintable()} | {
        "format": 1
    }
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    write_whole(path, yaml_text(printable))
    assert read_yaml(path) == printable


BROKEN = {
    "unsorted levels": (
        "{alpha_bar: 0.2, iterations: 1, share: 0.1}",
        "{alpha_bar: 0.9, iterations: 1, share: 0.1}",
        r"stages: stages must go from the most noise to the least.*0\.5 follows 0\.9",
    ),
    "unknown format": ("format: 1", "format: 3", "format must be 1 or 2, got 3"),
    "no format": ("format: 1\n", "", "format must be 1 or 2, got no such key"),
    "unknown key": ("format: 1", "format: 1\ncolour: red", "unknown key colour"),
    "unknown key of a stage": ("iterations: 1,", "iterations: 1, x: 2,", r"stages\[0\].x"),
    "text for a number": (
        "0.2,",
        "heavy,",
        r"stages\[0\].alpha_bar must be a number, got 'heavy'",
    ),
    "decimal comma": ("0.2,", "'0,2',", r"must be a number, got '0,2': write 0\.2$"),
    "fraction of an iteration": ("iterations: 1,", "iterations: 1.5,", "a whole number, got 1.5"),
    "true for a number": ("iterations: 1,", "iterations: true,", "a whole number, got True"),
    "missing": ("alpha_bar: 0.2, ", "", r"stages\[0\].alpha_bar is missing"),
    "wrong sum": ("iterations: 10\n", "iterations: 11\n", r"stages\[0\].share"),
    "no iterations": (
        "iterations: 10\n",
        "iterations: 0\n",
        "iterations must be at least 1, got 0",
    ),
    "beyond floats": ("0.2,", "1" + "0" * 400 + ",", "larger than any number here"),
    "negative iterations": (
        "iterations: 1,",
        "iterations: -1,",
        r"stages\[0\].iterations must be at least 1",
    ),
    "quoted format": ("format: 1", 'format: "1"', "write 1, without quotes"),
    "wrong share": ("share: 0.1", "share: 0.3", r"share must be iterations / 10 = 0\.1, got 0\.3"),
    "nan": ("0.2,", ".nan,", "alpha_bar must be in"),
    "doubled key": ("format: 1", "format: 1\nformat: 1", 'line 2: found duplicate key "format"'),
    "not YAML": ("format: 1", "format: [1", "not YAML"),
    "no mapping": (None, "- 1\n", "expected keys and values, found a list"),
    "empty": (None, "", "expected keys and values, found nothing"),
    "an object": (None, "!!python/object/apply:os.getcwd []\n", "line 1: not plain YAML: tags"),
}
GOOD = """format: 1
iterations: 10
stages:
- {alpha_bar: 0.2, iterations: 1, share: 0.1}
- {alpha_bar: 0.5, iterations: 2, share: 0.2}
- {alpha_bar: 1, iterations: 7, share: 0.7}
"""


def test_the_former_name_of_the_maximum_level_is_read(tmp_path: Path) -> None:
    family = Family(2, PowerSplit(2.0), 40, NoiseLevels("linear", 0.6))
    path = tmp_path / "schedule.yaml"
    save_schedule(path, ScheduleFile(family.schedule(100), family))
    new = path.read_text()
    assert "max_level: 0.6" in new
    path.write_text(new.replace("max_level", "heaviest"))
    with pytest.warns(FormerName, match=r"family\.noise\.heaviest is now called"):
        assert read_schedule_file(path).family == family
    path.write_text(new.replace("max_level: 0.6", "max_level: 0.6, heaviest: 0.6"))
    with pytest.raises(InputError, match=r"former name of family\.noise\.max_level: keep one"):
        read_schedule_file(path)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    assert load_schedule(tmp_path / "s.yaml").pairs == [[0.2, 1], [0.5, 2], [1.0, 7]]


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken_files_are_refused_by_name_and_key(tmp_path: Path, case: str) -> None:
    old, new, words = BROKEN[case]
    assert old is None or old in GOOD
    path = tmp_path / "broken.yaml"
    path.write_text(new if old is None else GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=words) as caught:
        load_schedule(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_task_of_the_measurements_has_a_kind() -> None:
    measured = full(LogSplit()).measured
    assert measured is not None
    assert measured.of_task == {"kind": "denoise", "sigma_255": 25.0, "clip": True}
    assert replace(measured, task={"peak": 9.0}).of_task == {"kind": "denoise", "peak": 9.0}
    other = {"kind": "inpaint", "missing": 0.3}
    assert replace(measured, task=other).of_task == other


@pytest.mark.parametrize("sigma", ["-1.0", ".nan", ".inf", "1.0e+300"])
def test_the_noise_of_the_measurements_has_limits(tmp_path: Path, sigma: str) -> None:
    path = tmp_path / "s.yaml"
    save_schedule(path, full(LogSplit()))
    path.write_text(path.read_text().replace("sigma_255: 25.0", f"sigma_255: {sigma}"))
    words = r"s\.yaml: measured: sigma_255 must be from 0 to 1,000,000, got"
    with pytest.raises(InputError, match=words):
        read_schedule_file(path)


@pytest.mark.parametrize("sigma", [1e-200, 5e-324])
def test_a_schedule_is_not_rescaled_to_an_absurd_ratio_of_noises(sigma: float) -> None:
    file = full(LogSplit())
    assert file.measured is not None
    other = replace(file, measured=replace(file.measured, sigma_255=sigma))
    assert other.rescaled(700, None).iterations == 700
    with pytest.raises(InputError, match="noise must be from 1e-9 to 1e9 times the schedule's"):
        other.rescaled(700, 25.0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml does not exist"):
        load_schedule(tmp_path / "none.yaml")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_family_with_more_stages_than_were_left_says_so(tmp_path: Path) -> None:
    family = Family(20, PowerSplit(1.0), 5, NoiseLevels("linear", 1.0))
    schedule = family.schedule(60)
    assert len(schedule.stages) == 6
    save_schedule(tmp_path / "s.yaml", ScheduleFile(schedule, family))
    words = "# Of its 20 stages, those that would get no iteration are dropped.\nfamily:\n"
    assert words in (tmp_path / "s.yaml").read_text()
    assert read_schedule_file(tmp_path / "s.yaml").family == family
    kept = replace(family, ramp=30)
    save_schedule(tmp_path / "kept.yaml", ScheduleFile(kept.schedule(60), kept))
    assert "#" not in (tmp_path / "kept.yaml").read_text()
