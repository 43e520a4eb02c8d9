"""Values that YAML reads otherwise than they look."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_runs import CONTENT, experiment, new_run

from dipstage.documents.plain_yaml import parse_yaml, yaml_text
from dipstage.errors import InputError
from search.cli import main
from search.experiment.model import Experiment
from search.experiment.reading import as_experiment, load_experiment, validate, with_resources
from search.store.lease import leased


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[sharp-linear:stages=5,x=9]", ["sharp-linear:stages=5,x=9"]),
        ("[baseline, sharp-linear:stages=5, x=9]", ["baseline", "sharp-linear:stages=5,x=9"]),
        ('["sharp-linear:stages=5,x=9", log10]', ["sharp-linear:stages=5,x=9", "log10"]),
    ],
)
def test_a_preset_without_quotes_is_one(tmp_path: Path, written: str, read: list[str]) -> None:
    path = tmp_path / "e.yaml"
    rest = {key: value for key, value in CONTENT.items() if key != "candidates"}
    path.write_text(yaml_text(rest) + f"candidates: {written}\n")
    assert load_experiment(path).candidates == read
    path.write_text(yaml_text(CONTENT))
    assert load_experiment(path, (f"candidates={written}",)).candidates == read


@pytest.mark.parametrize("before", ["", "# words\n", "\n\n"])
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.3", "2.0"])
def test_other_versions_of_yaml_are_refused(before: str, version: str) -> None:
    with pytest.raises(InputError, match=r"only YAML 1\.2"):
        parse_yaml(f"{before}%YAML {version}\n---\na: yes\n", "test")
    assert parse_yaml(f"{before}%YAML 1.2\n---\na: yes\n", "test") == {"a": "yes"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 2024}, 'write "2024", in quotes'),
        ({"name": True}, 'write "true", in quotes'),
        ({"images": [7]}, 'write "7", in quotes'),
        ({"task": {"sigma_255": "25"}}, "without quotes"),
        ({"seeds": ["0"]}, "without quotes"),
        ({"name": 1e5}, 'write "…", in quotes'),
        ({"seeds": [1e3]}, "must be a whole number, got 1000.0: write 1000"),
        ({"seeds": 3}, r"write a list, as in \[3\]"),
        ({"racing": {"enabled": "yes"}}, "write true or false, without quotes"),
        ({"logging": {"tensorboard": "on"}}, "write true or false, without quotes"),
        ({"racing": "off"}, "racing: must be keys and values, got 'off'"),
        (
            {"space": {**CONTENT["space"], "ema": 0.9}},
            r"space\.ema: must be a range such as \{low: 1, high: 2\}, got 0\.9",
        ),
    ],
)
def test_the_sentence_shows_the_quotes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        validate({**CONTENT, **change}, "test")


def test_paths_of_an_experiment_in_python_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {
        **CONTENT,
        "images": ["skimage:chelsea", "a.png", "./more/*.png#page=1"],
        "task": {"kind": "inpaint", "mask": "m.png"},
        "candidates": ["log10", "./mine.yaml", "other.yaml"],
        "search": {"trials": 4, "learn_from": ["earlier", "runs/other"]},
        "logging": {"mlflow": "logs"},
    }
    (tmp_path / "e.yaml").write_text(yaml_text(content))
    monkeypatch.chdir(tmp_path)
    found = as_experiment(Experiment(**content))
    assert found == as_experiment("e.yaml")
    assert found.candidates == ["log10", f"{tmp_path}/mine.yaml", f"{tmp_path}/other.yaml"]
    assert found.model_fields_set == content.keys()
    monkeypatch.chdir("/")
    assert as_experiment(found) == found


def test_a_list_that_was_changed_in_place_counts() -> None:
    given = Experiment(**{key: CONTENT[key] for key in ("name", "images", "space", "trainer")})
    given.seeds.append(7)
    assert as_experiment(given).seeds == [0, 7]


@pytest.mark.parametrize("word", ["on", "yes", "off", "no"])
def test_a_switch_is_no_folder_of_mlflow(tmp_path: Path, word: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(f"logging: {{mlflow: {word}}}")
    with pytest.raises(InputError, match="mlflow must be a folder or an address"):
        load_experiment(path)


@pytest.mark.parametrize("key", ["images", "candidates"])
def test_an_address_is_kept_as_it_is_written(tmp_path: Path, key: str) -> None:
    path = tmp_path / "e.yaml"
    entry = "https://example.com/a.png"
    path.write_text(yaml_text({**CONTENT, key: [entry]}))
    assert getattr(load_experiment(path), key) == [entry]


def test_a_run_that_is_searching_is_not_verified(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    with leased(run.storage, run.study.study_name, "run"):
        result = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "is still searching" in result.stderr


def test_a_second_launch_that_comes_late_names_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.execution import driver

    def make_first(*_: Any) -> None:
        monkeypatch.undo()
        driver.create(experiment(), tmp_path / "tiny", None, {}, [])

    monkeypatch.setattr(driver, "clear_leftover", make_first)
    with pytest.raises(InputError, match="continue it with dipsearch resume tiny"):
        driver.create(experiment(), tmp_path / "tiny", None, {}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_only_the_hardware_of_a_verification_can_be_set() -> None:
    given = ("resources.device=cuda", "resources.gpus_per_trial=0.25")
    resources = with_resources(experiment(), given).resources
    assert (resources.device, resources.gpus_per_trial) == ("cuda", 0.25)
    with pytest.raises(InputError, match=r"only keys of resources can differ"):
        with_resources(experiment(), ("trainer.width=8",))
    with pytest.raises(InputError, match=r"resources\.gpu: unknown key"):
        with_resources(experiment(), ("resources.gpu=1",))
    with pytest.raises(InputError, match="--set must be KEY=VALUE, got 'resources'"):
        with_resources(experiment(), ("resources",))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (
            "widht",
            "space.widht: unknown key: known are stages, ramp, .*, width, first_width, scales",
        ),
        ("noise.level", "space.noise.level: unknown key: known are beta, max_level, total$"),
        ("ramp.step", "space.ramp.step: unknown key: known are log, low, high$"),
    ],
)
def test_an_unknown_key_is_answered_by_the_known_ones(tmp_path: Path, key: str, words: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(yaml_text(CONTENT))
    with pytest.raises(InputError, match=words):
        load_experiment(path, (f"space.{key}=1",))
