"""Experiments that come with the package are launched by name, from anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dipstage.errors import InputError
from search.experiment.packaged import experiment_file, packaged_experiments
from search.experiment.reading import load_experiment


def test_packaged_experiments_are_those_of_the_repository_and_are_valid() -> None:
    there = packaged_experiments()
    assert set(there) == {
        path.stem for path in (Path(__file__).parents[3] / "experiments").glob("*.yaml")
    }
    assert "quickstart" in there
    assert load_experiment("quickstart").name == "quickstart"


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("name: mine\n")
    assert experiment_file(Path("quickstart")) == Path("quickstart")


def test_pictures_that_are_not_packaged_are_missed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    source = packaged_experiments()["denoise-64"]
    (folder / "denoise-64.yaml").write_bytes(source.read_bytes())
    monkeypatch.setattr("search.experiment.packaged._folder", lambda name: tmp_path / name)
    with pytest.raises(InputError, match=r"denoise-64 needs pictures .* 101085\.png: .* init deno"):
        load_experiment("denoise-64")
    own = load_experiment("denoise-64", ("images=[skimage:moon]",))
    assert own.images == ["skimage:moon"]
    assert load_experiment(folder / "denoise-64.yaml").name == "denoise-64", "a file says where"


@pytest.mark.parametrize("given", ["none.yaml", "folder/quickstart", "./a.yml"])
def test_a_path_is_a_path(given: str) -> None:
    assert experiment_file(Path(given)) == Path(given)


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InputError, match=r"quikstart is neither a file .*quickstart"):
        experiment_file(Path("quikstart"))


PROGRAMS = {"dipstage": "dipstage", "search": "dipsearch"}


@pytest.mark.parametrize("package", PROGRAMS)
def test_packages_run_as_programs(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", package, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"Usage: {PROGRAMS[package]} ")


def test_a_shorter_packaged_search_is_refused_once_with_all_that_clashes() -> None:
    with pytest.raises(InputError) as refused:
        load_experiment("quickstart", ("trainer.iterations=60",))
    assert str(refused.value) == (
        "quickstart with trainer.iterations=60: space.ramp.high must be less than "
        "trainer.iterations, 60, got 350; candidates: sharp-linear: iterations must be more than "
        "the ramp of 70, got 60: raise trainer.iterations, write sharp-linear:x=4 instead, or "
        "leave it out (change quickstart with --set KEY=VALUE, or write it to a file to edit with "
        "dipsearch init quickstart)"
    )
    shorter = ("trainer.iterations=60", "space.ramp.high=30", "candidates=[sharp-linear:x=4]")
    assert load_experiment("quickstart", shorter).candidates == ["sharp-linear:x=4"]
    with pytest.raises(InputError, match=r"known are .*, precision$"):
        load_experiment("quickstart", ("trainer.itrations=60",))


def test_a_file_with_a_candidate_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    text = packaged_experiments()["quickstart"].read_text("utf-8")
    path.write_text(text.replace("sharp-linear", "sharp-linear:stages=300"), "utf-8")
    with pytest.raises(InputError) as refused:
        load_experiment(path)
    assert str(refused.value) == (
        f"{path}: candidates: sharp-linear:stages=300: iterations must be more than the ramp of "
        "2980, got 600: raise trainer.iterations, write sharp-linear:stages=300,x=1 instead, or "
        "leave it out"
    )
