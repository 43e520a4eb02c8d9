"""Experiment files: what is accepted, what is refused and in which words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fake_runs import CONTENT, experiment
from published_schedules import content, publish

from dipstage.documents.plain_yaml import yaml_text
from dipstage.errors import InputError
from dipstage.renamed import FormerName
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates, load_pictures
from search.experiment.reading import load_experiment, validate
from search.remote.upload import pack_search

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_project_s_own_experiments_are_ready_to_run(path: Path) -> None:
    loaded = load_experiment(path)
    assert loaded.name == path.stem
    # Schedule files are exported from the run that an experiment follows.
    files = [Path(entry) for entry in loaded.candidates if "/schedules/" in entry]
    if all(file.exists() for file in files):
        assert load_candidates(loaded)
    # Sets of pictures that are not part of the repository are named by their folder, data.
    if not all("/../data/" in name for name in loaded.images):
        assert load_pictures(loaded)
    claim = path.read_text().splitlines()[0]
    assert claim.startswith("# ")


def test_a_frozen_experiment_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(experiment().yaml())
    assert load_experiment(path) == experiment()


def test_numpy_tuples_ranges_and_paths_are_read_as_a_file_would_hold_them() -> None:
    plain = experiment(images=["a.png"], seeds=[0, 1, 2])
    for seeds in (np.arange(3), range(3), (0, 1, 2), [np.int64(0), np.uint8(1), 2]):
        given: dict[str, Any] = {
            **CONTENT, "images": (Path("a.png"),), "seeds": seeds, "size": np.int64(16),
            "search": {"trials": np.int32(4), "seed": np.int64(0)},
        }  # fmt: skip
        assert Experiment(**given) == plain


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("seeds", np.array([0.5, 1.0]), r"seeds.0: must be a whole number, got 0.5"),
        ("seeds", np.array(3), r"seeds: must be a list, got 3: write a list, as in \[3\]"),
        ("size", np.float64(16), "size: must be a whole number, got 16.0: write 16"),
        ("images", Path("a.png"), r"images: must be a list, got 'a.png': write a list, as in"),
        ("name", b"x", r"name: must be a text, got b'x'$"),
    ],
)
def test_what_no_file_could_hold_is_one_sentence(key: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Experiment(**{**CONTENT, key: value})


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"images": [np.zeros((64, 64, 3))]}, "images.0"),
        ({"images": ("a.png", np.zeros((64, 64)))}, "images.1"),
        ({"images": np.zeros((64, 64, 3))}, "images"),
        ({"task": {"kind": "inpaint", "mask": np.ones((16, 16), bool)}}, "task.mask"),
    ],
)
def test_pixels_in_place_of_a_picture_s_name_are_to_be_saved(
    content: dict[str, Any], key: str
) -> None:
    with pytest.raises(InputError) as refused:
        Experiment(**{**CONTENT, **content})
    assert str(refused.value) == (
        f'{key} holds pixels: save them, as by skimage.io.imsave("picture.png", array), and name '
        "the file"
    )


def test_names_of_pictures_may_be_an_array() -> None:
    assert experiment(images=np.array(["a.png", "b.png"])).images == ["a.png", "b.png"]


def changed(key: str, value: Any) -> dict[str, Any]:
    """The tiny experiment's content with one key, dots allowed, set or with None removed."""
    content: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in CONTENT.items()}
    *parents, last = key.split(".")
    inner = content
    for parent in parents:
        inner[parent] = dict(inner.get(parent, {}))
        inner = inner[parent]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return content


def total(*ends: float) -> dict[str, Any]:
    """Ranges of min_sigma_255 and max_sigma_255 by their ends."""
    low, high = ends[:2], ends[2:]
    return {
        "min_sigma_255": {"low": low[0], "high": low[1]},
        "max_sigma_255": {"low": high[0], "high": high[1]},
    }


REFUSED: list[tuple[str, Any, str]] = [
    ("colour", "red", "colour: unknown key"),
    ("trainer.widht", 3, "trainer: unknown key widht"),
    ("space.stages", {"low": 9, "high": 3}, r"space.stages: low must be at most high, got low 9"),
    ("space.stages", {"low": 0, "high": 3}, "space.stages: must be at least 1, got low 0"),
    ("space.stages", {"low": 1.5, "high": 3}, "space.stages.low: .*got 1.5"),
    ("space.exponent", {"low": float("nan"), "high": 3.0}, "space.exponent.low: .*got nan"),
    ("space.exponent", {"low": 0.0, "high": 3.0}, "space.exponent: must be above 0, got low 0.0"),
    ("space.exponent", {"low": 0.0, "high": 3.0, "log": True}, "must begin above 0"),
    ("space.exponent", None, "exponent belongs to the power split"),
    ("space.ramp", {"low": 5, "high": 30}, "space.ramp.high must be less than"),
    ("space.ramp", {"low": 0, "high": 3}, "space.ramp: must be at least 1, got low 0"),
    ("space.learning_rate", {"low": 0.001, "high": 10.0}, "learning_rate: must be at most 1"),
    ("resources.gpus_per_trial", 1.5, "gpus_per_trial must be whole above 1"),
    ("space.split", [], "space.split: "),
    ("space.split", ["cubic"], "space.split.0: .*got 'cubic'"),
    ("space.noise", {"beta": ["linear"], "max_level": {"low": 0.5, "high": 2.0}}, "be at most 1"),
    ("space.noise", {"beta": ["linear"]}, "max_level is missing, unless total is given"),
    ("space.noise", {"beta": ["linear"], "total": total(30, 40, 50, 60)}, "give either total"),
    ("space.noise", {"total": total(25, 40, 50, 60)}, "must rise from the task's noise .*25 to 40"),
    ("space.noise", {"total": total(30, 50, 50, 60)}, "got 25, 30 to 50, 50 to 60"),
    ("space.noise", {"total": total(30, 40, 50, 60) | {"rho": {"low": 1e-4, "high": 10.0}}},
     "rho: must be at least 0.001, got low 0.0001"),
    ("space.targets", ["variance-exploding"], "targets need noise.total"),
    ("space.targets", ["ddpm", "ddpm"], "targets names a choice twice: ddpm"),
    ("space.draws", ["often"], "space.draws.0: .*got 'often'"),
    ("space.ema", {"low": 0.9, "high": 1.0}, "space.ema: must be at most 0.9999"),
    ("objective.window", 0, "objective: window must be at least 1, got 0"),
    ("space", None, "space is missing"),
    ("name", "a/b", "name: must be letters, digits, .*got 'a/b'"),
    ("name", "", "name: must be letters"),
    ("images", [], "images: "),
    ("images", None, "images: is missing"),
    ("images", ["skimage:moon", "skimage:moon"], "images holds an entry twice"),
    ("seeds", [1, 1], "seeds holds an entry twice"),
    ("seeds", [-1], r"seeds.0: .*got -1"),
    ("trainer.iterations", 0, "trainer: iterations must be at least 1, got 0"),
    ("trainer.iterations", "30", "iterations must be a whole number, without quotes, got '30'"),
    ("task.sigma_255", -1.0, "task: sigma_255 must be .*got -1.0"),
    ("task.kind", "deblur", "task: kind must be one of .*got 'deblur'"),
    ("objective.output", "best", "objective: output must be raw or smoothed, got 'best'"),
    ("search.trials", -1, "search.trials: .*got -1"),
    ("search.sampler", "magic", "search.sampler: .*got 'magic'"),
    ("resources.cpus_per_trial", 0, "resources.cpus_per_trial: .*got 0"),
    ("resources.concurrent", "many", "resources.concurrent.*got 'many'"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "words"), REFUSED, ids=lambda v: str(v)[:40])
def test_bad_values_are_refused_by_file_and_key(key: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        validate(changed(key, value), "file.yaml")
    assert str(caught.value).startswith("file.yaml: ")
    assert "\n" not in str(caught.value)


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to run"):
        experiment(candidates=[], search={"trials": 0})


def test_files_that_are_no_experiment_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("name: [unclosed")
    with pytest.raises(InputError, match=r"e\.yaml, line 1: not YAML"):
        load_experiment(path)
    with pytest.raises(InputError, match=r"none\.yaml does not exist"):
        load_experiment(tmp_path / "none.yaml")


def test_overrides_reach_any_key_and_keep_their_type(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(yaml_text(CONTENT))
    loaded = load_experiment(path, ("trainer.learning_rate=1e-3", "seeds=[4, 5]", "size=null"))
    assert loaded.trainer.learning_rate == 1e-3
    assert loaded.seeds == [4, 5]
    assert loaded.size is None
    with pytest.raises(InputError, match=r"trainer: unknown key speed"):
        load_experiment(path, ("trainer.speed=3",))
    with pytest.raises(InputError, match="--set must be KEY=VALUE, got 'seeds'"):
        load_experiment(path, ("seeds",))
    with pytest.raises(InputError, match=r"--set seeds=\["):
        load_experiment(path, ("seeds=[",))
    with pytest.raises(InputError, match="name is not a group"):
        load_experiment(path, ("name.first=a",))


def test_former_names_of_keys_are_read_with_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(experiment().yaml().replace("max_level", "heaviest"))
    notice = r"space\.noise\.heaviest is now called space\.noise\.max_level"
    with pytest.warns(FormerName, match=notice):
        assert load_experiment(path) == experiment()
    for override, expected in (
        ("space.noise.max_level.low=0.3", (0.3, 1.0)),
        ("space.noise={beta: [linear], heaviest: {low: 0.2, high: 0.4}}", (0.2, 0.4)),
    ):
        with pytest.warns(FormerName, match=notice):
            space = load_experiment(path, (override,)).space
        assert space is not None
        assert space.noise.max_level is not None
        assert (space.noise.max_level.low, space.noise.max_level.high) == expected
    with (
        pytest.warns(FormerName, match=notice),
        pytest.raises(InputError, match=r"space\.noise\.heaviest: unknown key"),
    ):
        load_experiment(path, ("space.noise.heaviest.low=0.3",))
    both = experiment().model_dump(mode="json")
    both["space"]["noise"]["heaviest"] = {"low": 0.1, "high": 1.0}
    path.write_text(yaml_text(both))
    with pytest.raises(InputError, match=r"space\.noise\.heaviest: unknown key"):
        load_experiment(path)


def test_paths_are_relative_to_the_file_and_overrides_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "e.yaml"
    path.parent.mkdir()
    path.write_text(yaml_text({**CONTENT, "images": ["a.png"], "candidates": ["s.yaml", "log10"]}))
    monkeypatch.chdir(tmp_path)
    loaded = load_experiment(path)
    assert loaded.images == [str(tmp_path / "deep" / "a.png")]
    assert loaded.candidates == [str(tmp_path / "deep" / "s.yaml"), "log10"]
    assert load_experiment(path, ("images=[a.png]",)).images == [str(tmp_path / "a.png")]


def test_candidates_and_pictures_are_checked_before_anything_starts(tmp_path: Path) -> None:
    for entry, said in {
        "log11": "unknown preset 'log11': choose one of baseline, uniform, sharp-linear, log10, "
        r"fast, best, or write the path of a schedule file, such as \./log11\.yaml$",
        "uniform:stages=1e9": "preset 'uniform:stages=1e9': stages must be a whole number, "
        "got '1e9'$",
        "uniform:x=3": "preset uniform has no parameter 'x'",
    }.items():
        with pytest.raises(InputError, match=rf"^(test: )?candidates: {said}"):
            load_candidates(experiment(candidates=[entry]))
    with pytest.raises(InputError, match="more than the ramp of 70, got 30"):
        load_candidates(experiment(candidates=["sharp-linear"]))
    with pytest.raises(InputError, match="does not exist"):
        load_candidates(experiment(candidates=[str(tmp_path / "s.yaml")]))
    with pytest.raises(InputError, match="does not exist"):
        load_pictures(experiment(images=[str(tmp_path / "a.png")]))


@pytest.mark.parametrize(
    ("objective", "needs_plain"),
    [
        ({}, False), ({"stop": "emv"}, False), ({"against": "none"}, False),
        ({"metric": "ssim"}, True), ({"against": "seconds"}, True), ({"against": "energy"}, True),
        ({"metric": "ssim", "against": "none"}, True),
    ],
)  # fmt: skip
def test_no_gain_needs_plain_dip_where_nothing_else_can_be_compared_with(
    objective: dict[str, Any], needs_plain: bool
) -> None:
    search = {"trials": 4, "until": {"no_gain": 3}}
    with_plain = experiment(objective=objective, search=search)
    assert load_candidates(with_plain)
    without = experiment(objective=objective, search=search, candidates=["log10"])
    if not needs_plain:
        assert load_candidates(without)
        return
    with pytest.raises(InputError, match=r"search.until.no_gain needs plain DIP .* add baseline"):
        load_candidates(without)


def test_published_schedules_are_candidates_for_the_size_and_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "published")
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path / "published")
    tiny = experiment(candidates=["fast", "best"], task={"kind": "denoise", "sigma_255": 30})
    fast, best = load_candidates(tiny)
    assert (fast.name, best.name) == ("fast", "best")
    assert fast.schedule == content(16).rescaled(30, 30.0)
    with pytest.raises(InputError, match="fast is chosen by the size of pictures: set size"):
        load_candidates(experiment(candidates=["fast"], size=None))
    (tmp_path / "e.yaml").write_text(tiny.yaml())
    assert load_experiment(tmp_path / "e.yaml").candidates == ["fast", "best"]
    (tmp_path / "sent").mkdir()
    pack_search(tiny, tmp_path / "sent")
    assert load_experiment(tmp_path / "sent/experiment.yaml").candidates == ["fast", "best"]


def test_pictures_of_one_name_are_told_apart_and_the_same_picture_is_refused(
    tmp_path: Path,
) -> None:
    import shutil

    from written_pictures import save_png

    from dipstage.pictures.images import load_picture

    camera, moon = (load_picture(f"skimage:{n}", size=32, multiple=2) for n in ("camera", "moon"))
    for folder, picture in (("a", camera), ("b", moon)):
        (tmp_path / folder).mkdir()
        save_png(tmp_path / folder / "x.png", picture.pixels)
    both = experiment(images=[str(tmp_path / f / "x.png") for f in ("a", "b")])
    labels = list(load_pictures(both))
    assert len(set(labels)) == 2
    assert all(label.startswith("x-") for label in labels)
    shutil.copy(tmp_path / "a" / "x.png", tmp_path / "y.png")
    with pytest.raises(InputError, match="are the same picture"):
        load_pictures(experiment(images=[str(tmp_path / "a/x.png"), str(tmp_path / "y.png")]))


@pytest.mark.parametrize("names", [("A", "a"), ("straße", "STRASSE"), ("e\u0301", "\u00c9")])
def test_labels_are_unique_on_disks_that_ignore_case(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    from written_pictures import save_png

    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).random((1, 32, 32), dtype=np.float32)
        save_png(tmp_path / f"{name}.png", pixels)
    one, two = load_pictures(experiment(images=[str(tmp_path / f"{name}.png") for name in names]))
    assert one.casefold().rpartition("-")[2] != two.casefold().rpartition("-")[2]
    assert one.startswith(f"{names[0]}-")


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
@pytest.mark.parametrize("file", ["x.png", "x.p*g", "x.png#page=1"])
def test_home_and_variables_are_expanded_in_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, file: str
) -> None:
    from written_pictures import save_png

    from dipstage.pictures.images import expand, load_picture

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    save_png(home / "x.png", np.full((1, 32, 32), 0.7, np.float32))
    save_schedule(home / "s.yaml", ScheduleFile(parse_preset("log10").schedule(30)))
    content = {**CONTENT, "images": [f"{start}/{file}"], "candidates": [f"{start}/s.yaml"]}
    (tmp_path / "e.yaml").write_text(yaml_text(content))
    for loaded in (
        load_experiment(tmp_path / "e.yaml"),
        load_experiment(tmp_path / "e.yaml", (f"images=['{start}/{file}']",)),
    ):
        assert loaded.images == [str(home / file)]
        assert list(load_pictures(loaded)) == ["x"]
        assert [c.name for c in load_candidates(loaded)] == ["s"]
    [name] = expand([f"{start}/{file}"])
    assert Path(name).parent == home
    if "*" not in file:
        assert load_picture(f"{start}/{file}").label == "x"


def test_a_variable_without_a_value_is_named(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(yaml_text({**CONTENT, "images": ["$NOT_SET/x.png"]}))
    with pytest.raises(InputError, match=r"\$NOT_SET/x.png' does not exist: check that its var"):
        load_pictures(load_experiment(tmp_path / "e.yaml"))


def test_a_file_that_has_the_name_itself_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from written_pictures import save_png

    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    for name in ("~", "$HOME"):
        (tmp_path / name).mkdir()
        seed = len(name)
        save_png(
            tmp_path / name / f"{seed}.png",
            np.random.default_rng(seed).random((1, 32, 32), dtype=np.float32),
        )
    content = {**CONTENT, "images": ["~/1.png", "$HOME/5.png"]}
    (tmp_path / "e.yaml").write_text(yaml_text(content))
    assert list(load_pictures(load_experiment(tmp_path / "e.yaml"))) == ["1", "5"]


def test_pages_of_one_file_are_pictures_of_their_own(tmp_path: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 4096, (3, 32, 32), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", pages, photometric="minisblack")
    names = [f"s.tif#page={page}#bits=12" for page in (1, 3)]
    (tmp_path / "e.yaml").write_text(yaml_text({**CONTENT, "images": names, "size": None}))
    pictures = load_pictures(load_experiment(tmp_path / "e.yaml"))
    assert all(label.startswith("s-") for label in pictures)
    for picture, page in zip(pictures.values(), (0, 2), strict=True):
        assert picture.pixels[0] == pytest.approx(pages[page] / 4095)
