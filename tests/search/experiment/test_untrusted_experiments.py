"""Any bytes are an experiment, or are refused in one short line that names the file.

DIPSEARCH_EXAMPLES=N runs N times as many examples, drawn anew each time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_runs import CONTENT, experiment
from hypothesis import given
from hypothesis import strategies as st
from untrusted import YAML_TEXTS, altered, examples, mutations, result, values

from dipstage.errors import InputError
from dipstage.pictures.images import Picture
from search.experiment.model import Experiment
from search.experiment.prepare import load_pictures
from search.experiment.reading import load_experiment, validate
from search.store.paths import curve_path, run_folder

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
SMALL = {"name": "small", "images": ["skimage:moon"], "candidates": ["log10"]}
CONTENTS: list[dict[str, Any]] = [CONTENT, SMALL | {"search": {"trials": 0}}]
DOCUMENTS = [(EXPERIMENTS / "quickstart.yaml").read_bytes(), experiment().yaml().encode()]
KEYS = sorted({*Experiment.model_fields, *CONTENT["space"], "low", "high", "log"})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written anew by each example."""
    return tmp_path_factory.mktemp("untrusted") / "experiment.yaml"


def holds(path: Path, data: bytes) -> Experiment | None:
    """The property: an experiment that survives a round trip, or one clear refusal."""
    path.write_bytes(data)
    loaded = result(path, load_experiment)
    if loaded is not None:
        path.write_text(loaded.yaml())
        assert load_experiment(path) == loaded
        assert run_folder(loaded.name, path.parent).resolve().parent == path.parent.resolve()
    return loaded


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_themselves_are_read(path: Path, document: bytes) -> None:
    assert holds(path, document) is not None


@examples(100)
@given(data=st.binary(max_size=300))
def test_any_bytes(path: Path, data: bytes) -> None:
    holds(path, data)


@pytest.mark.long
@examples(100)
@given(text=YAML_TEXTS)
def test_any_yaml(path: Path, text: str) -> None:
    holds(path, text.encode(errors="replace"))


@pytest.mark.long
@examples(200)
@given(data=mutations(DOCUMENTS))
def test_damaged_experiments(path: Path, data: bytes) -> None:
    holds(path, data)


@pytest.mark.long
@examples(150)
@given(data=altered(CONTENTS))
def test_experiments_with_other_values(path: Path, data: bytes) -> None:
    holds(path, data)


@pytest.mark.long
@examples(100)
@given(content=st.dictionaries(st.sampled_from(KEYS), values(KEYS), max_size=6))
def test_plain_data_of_any_shape(path: Path, content: dict[str, Any]) -> None:
    holds(path, json.dumps(content).encode())


ABSURD: list[tuple[dict[str, Any], str]] = [
    ({"search": {"trials": 10**15}}, "search.trials: .*got 1000000000000000"),
    ({"search": {"seed": 2**40}}, "search.seed: "),
    ({"trainer": {"iterations": 10**15}}, "trainer: iterations must be at most 1,000,000"),
    ({"trainer": {"width": 10**9}}, "trainer: width must be at most 4,096"),
    ({"trainer": {"patience": 10**400}}, "trainer: patience must be at most"),
    ({"size": 10**9}, "size: "),
    ({"seeds": [*range(10_001)]}, "seeds: "),
    ({"seeds": [2**63]}, "seeds.0: "),
    ({"task": {"sigma_255": 1e300}}, "task: sigma_255 "),
    ({"images": ["a.png"] * 1001}, "images: "),
    ({"images": ["a\nb.png"]}, "images has a line break"),
    ({"candidates": ["\ud800.yaml"]}, "candidates has half a character"),
    ({"space": CONTENT["space"] | {"stages": {"low": 1, "high": 10**9}}}, "at most 1,000"),
    ({"resources": {"cpus_per_trial": 10**9}}, "resources.cpus_per_trial: "),
    *(({"name": name}, "name: must be letters") for name in
      ("../x", ".", "..", "x\n", "\n", "a/b", "a\\b", "a" * 101, "é", "x\0", "", "-x")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), ABSURD, ids=lambda v: str(v)[:40])
def test_absurd_values_are_refused_by_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        validate({**CONTENT, **change}, "file.yaml")
    assert len(str(caught.value)) <= 480


def test_what_real_searches_need_is_allowed() -> None:
    trainer = {"iterations": 100_000, "width": 1024, "scales": 8}
    large = experiment(size=512, seeds=[*range(5000)], trainer=trainer, name="a" * 100)
    assert len(large.seeds) == 5000


def test_more_replicates_than_fit_are_refused_before_a_picture_is_read(tmp_path: Path) -> None:
    for k in range(11):
        (tmp_path / f"{k}.png").touch()
    many = experiment(images=[f"{tmp_path}/*.png"], seeds=[*range(10_000)])
    with pytest.raises(InputError, match="11 pictures with 10000 seeds are too many"):
        load_pictures(many)


ODD_NAMES = [
    "..", ".", "", "/", "a/..", "..\\..\\x.png", "a\nb.png", "a\0b.png", "x" * 250 + ".png",
    "é" * 120 + ".png", "\ud800.png", "skimage:../../x", "c:\\x.png", "\u2028.png",
]  # fmt: skip


def test_labels_of_odd_names_stay_file_names(tmp_path: Path) -> None:
    labels = [Picture(name, experiment_pixels()).label for name in ODD_NAMES]
    assert len(set(labels)) == len(labels)
    for label in labels:
        path = curve_path(tmp_path, 99999, f"{label}-seed{2**63}")
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert path.resolve().parent == tmp_path / "curves"
        assert label.isprintable()
    assert len([*(tmp_path / "curves").iterdir()]) == len(labels)


def experiment_pixels() -> Any:
    """Labels need a picture, whatever it shows."""
    import numpy as np

    return np.zeros((1, 16, 16), np.float32)


@pytest.mark.parametrize("name", ["a b", "été", "x.y", "IMG_0001", "Foto (1)", "a=b,c"])
def test_labels_of_ordinary_names_are_their_stems(name: str) -> None:
    assert Picture(f"folder/{name}.png", experiment_pixels()).label == name
