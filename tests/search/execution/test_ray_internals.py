"""What `search.execution.ray_internals` uses of Ray still exists."""

from __future__ import annotations

import inspect
from pathlib import Path

from search.execution.ray_internals import (  # isort: skip - before Ray
    LOW_ON_MEMORY, why_it_died, without_credentials,
)  # fmt: skip

import pytest
import ray
from internals import lost_imports, private_attributes
from ray._private import ray_constants, services
from ray._private.node import Node
from ray.air._internal.mlflow import _MLflowLoggerUtil
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.job_submission import JobSubmissionClient
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

pytestmark = pytest.mark.ray
ADAPTER = Path(__file__).parents[3] / "search" / "execution" / "ray_internals.py"


def test_ray_still_has_what_is_imported() -> None:
    assert not lost_imports(ADAPTER, "ray"), (
        f"Ray {ray.__version__} moved {', '.join(lost_imports(ADAPTER, 'ray'))}, which "
        "search/execution/ray_internals.py uses: change it there"
    )


def test_workers_of_trials_get_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trained:
        """Stands for what is trained."""

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    assert "secret" in str(vars(_ActorClassCache().get(Trained))), "without it, Ray passes them"
    with without_credentials():
        passed = str(vars(_ActorClassCache().get(Trained)))
    assert "PL_DISABLE_FORK" in passed
    assert "secret" not in passed


def test_ray_still_has_the_private_attributes() -> None:
    text = inspect.getsource
    there = {
        "_actor_manager": "self._actor_manager" in text(TuneController),
        "_do_request": hasattr(JobSubmissionClient, "_do_request"),
        "_get_client": hasattr(_MLflowLoggerUtil, "_get_client"),
        "_py_driver_sys_path": "_py_driver_sys_path.extend(" in text(ray._private.worker),
        "_trial_runs": "self._trial_runs" in text(MLflowLoggerCallback),
    }
    assert private_attributes(ADAPTER) == set(there), "this test names what the adapter uses"
    for name, is_there in there.items():
        assert is_there, (
            f"Ray {ray.__version__} moved {name}, which search/execution/ray_internals.py uses: "
            "change it there"
        )
    assert "ConsolePopen(" in text(services.start_ray_process), (
        f"Ray {ray.__version__} starts its processes in another way: search/execution/"
        "ray_internals.py puts them into process groups of their own"
    )
    assert "self.temporary_state.ray_actor = " in text(Trial.set_ray_actor), (
        f"Ray {ray.__version__} keeps the workers of trials elsewhere: "
        "search/execution/ray_internals.py ends those that hang"
    )
    assert "air_usage.tag_callbacks(" in text(ray.tune.tune.run), (
        f"Ray {ray.__version__} counts callbacks elsewhere: search/execution/ray_internals.py "
        "keeps it from importing their packages"
    )
    assert "in ENV_VARS_TO_PROPAGATE:" in text(_ActorClassCache.get), (
        f"Ray {ray.__version__} passes variables to the workers of trials in another way: "
        "search/execution/ray_internals.py keeps credentials out of them"
    )
    for name in ("ENABLE_RAY_CLUSTER", "ENABLE_RAY_CLUSTERS_ENV_VAR"):
        assert hasattr(ray_constants, name), (
            f"Ray {ray.__version__} moved {name}, without which its servers listen on all "
            "interfaces: search/execution/ray_internals.py uses it"
        )
    begun = text(Node.start_head_processes) + text(Node.start_ray_processes)
    for name in ("start_monitor", "start_log_monitor", "start_api_server"):
        assert f"self.{name}(" in begun, (
            f"Ray {ray.__version__} moved {name}, without which it starts processes that no search "
            "uses: search/execution/ray_internals.py replaces it"
        )


def test_ray_still_says_that_it_ended_a_worker_for_memory(tmp_path: Path) -> None:
    said = f"killed due to the node {LOW_ON_MEMORY}. "
    assert said.encode() in Path(services.RAYLET_EXECUTABLE).read_bytes(), (
        f"Ray {ray.__version__} says in other words that it ended a worker for memory: "
        "search/execution/ray_internals.py looks for them"
    )
    path = tmp_path / "error.txt"
    path.write_text(f"Failure # 1 (occurred at …)\n1 worker(s) were {said}Memory …\n…\nadvice\n\n")
    assert why_it_died(str(path)) == f"1 worker(s) were {said}Memory …"
    path.write_text("Failure # 1 (occurred at …)\nThe actor died.\n\n")
    assert why_it_died(str(path)) == "The actor died."
    path.write_text("")
    assert why_it_died(str(path)) == why_it_died(None) == ""


def test_ray_still_has_the_setting_that_starts_no_workers_in_advance() -> None:
    assert b"prestart_worker_first_driver" in Path(services.RAYLET_EXECUTABLE).read_bytes(), (
        f"Ray {ray.__version__} moved prestart_worker_first_driver, without which it starts a "
        "worker for each core that a search never uses: search/execution/ray_internals.py sets it"
    )
