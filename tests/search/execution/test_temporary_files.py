"""Where a local Ray keeps its files: in folders whose names leave room for sockets."""

from __future__ import annotations

import stat
from contextlib import nullcontext
from pathlib import Path

import pytest
from counts import assert_exact
from fake_runs import experiment
from processes import finish

from dipstage.errors import InputError, WorkError
from search import Run
from search.execution import cluster
from search.execution.view import Quiet

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("/" + "x" * 10, True),
        ("/" + "x" * 30, True),
        ("/" + "x" * 45, False),
        ("/" + "ö" * 25, False),
        ("/" + "x" * 99, False),
    ],
)
def test_a_folder_is_replaced_if_sockets_do_not_fit_in_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str, fits: bool
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, name)
    notes: list[str] = []
    with cluster._folder(notes.append) as folder:
        if fits:
            assert (folder, notes) == (None, [])
            return
        assert folder is not None
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        said = f"{name}/ray is too long a name for Ray's sockets: {folder} is used instead"
        assert notes == [said]
    assert not Path(folder).exists()


def test_other_folders_are_tried_before_the_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 99)
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(cluster, "_SHORT", (missing, str(tmp_path)))
    with cluster._folder(lambda _: None) as folder:
        assert folder is not None
        assert Path(folder).parent == tmp_path
    monkeypatch.setattr(cluster, "_SHORT", (missing,))
    refused = pytest.raises(InputError, match="set RAY_TMPDIR to a short one")
    with refused, cluster._folder(lambda _: None):
        pass


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    words = "The current node timed out.*: close other programs, or wait"
    with pytest.raises(WorkError, match=words), cluster.ray_cluster(None):
        pass


def test_only_a_ray_that_is_going_to_start_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Announced(Quiet):
        times = 0

        def starting(self) -> None:
            """See `View`."""
            self.times += 1

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_connected", lambda *_: nullcontext())
    view = Announced()
    nobody = pytest.raises(InputError, match="nobody listens there")
    with nobody, cluster.ray_cluster("127.0.0.1:1", view=view):
        pass
    assert view.times == 0
    with cluster.ray_cluster(None, view=view):
        assert view.times == 1
        monkeypatch.setattr("ray.is_initialized", lambda: True)
        with cluster.ray_cluster(None, view=view):
            pass
    assert view.times == 1


def test_a_search_runs_although_the_folder_of_temporary_files_has_a_long_name(
    tmp_path: Path,
) -> None:
    long = tmp_path / ("long " * 25).strip()
    long.mkdir()
    tiny = experiment(
        images=["skimage:moon"], seeds=[0], space=None, search={"trials": 0},
        candidates=["baseline"],
    )  # fmt: skip
    (tmp_path / "e.yaml").write_text(tiny.yaml())
    code, output = finish(
        "launch", str(tmp_path / "e.yaml"), runs_dir=tmp_path / "runs",
        environment={"TMPDIR": str(long)},
    )  # fmt: skip
    assert code == 0, output
    [said] = [line for line in output.splitlines() if "sockets" in line]
    folder = said.partition("sockets: ")[2].partition(" ")[0]
    assert Path(folder).parent == Path("/tmp")
    assert not Path(folder).exists()
    assert not (long / "ray").exists()
    assert_exact(Run.open("tiny", tmp_path / "runs"))
