"""How a cluster is shared among trials."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_runs import experiment

from dipstage.errors import InputError
from search.execution.resources import Shares, replicates_together, resources_of, wants_probe

pytestmark = pytest.mark.ray
LARGE: dict[str, Any] = {"size": 256, "trainer": {"iterations": 30, "width": 4, "scales": 1}}


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which machines there are."""

    def there_are(*resources: dict[str, float]) -> None:
        nodes = [{"Alive": True, "Resources": each} for each in resources]
        monkeypatch.setattr("ray.nodes", lambda: nodes)

    return there_are


def shares(**changes: Any) -> Shares:
    return resources_of(experiment(**changes))


def test_a_trial_gets_one_core_while_there_are_trials_for_all(
    machines: Callable[..., None],
) -> None:
    machines({"CPU": 2}, {"CPU": 4})
    auto = shares(**LARGE, candidates=[], search={"trials": 6})
    assert auto.trial == {"cpu": 1, "gpu": 0}
    assert auto.concurrent == 6


@pytest.mark.parametrize(
    ("trials", "cores", "concurrent"), [(2, 4, 2), (3, 2, 4), (1, 8, 1), (5, 1, 8)]
)
def test_cores_without_a_trial_are_given_to_the_others(
    machines: Callable[..., None], trials: int, cores: int, concurrent: int
) -> None:
    machines({"CPU": 8})
    auto = shares(**LARGE, candidates=["baseline"], search={"trials": trials - 1})
    assert auto.trial["cpu"] == cores
    assert auto.concurrent == concurrent


@pytest.mark.parametrize(
    ("nodes", "trials", "cores", "concurrent"),
    [([3, 3, 3], 4, 1, 9), ([3, 3, 3], 3, 3, 3), ([8, 2, 2, 2, 2], 4, 2, 8), ([16, 2], 5, 3, 5)],
)
def test_cores_are_shared_so_that_all_trials_run_at_once(
    machines: Callable[..., None], nodes: list[int], trials: int, cores: int, concurrent: int
) -> None:
    machines(*({"CPU": each} for each in nodes))
    auto = shares(**LARGE, candidates=[], search={"trials": trials})
    assert (auto.trial["cpu"], auto.concurrent) == (cores, concurrent)


def test_a_run_keeps_the_cores_that_it_began_with(machines: Callable[..., None]) -> None:
    machines({"CPU": 8})
    tiny = experiment(**LARGE, candidates=[], search={"trials": 2})
    assert resources_of(tiny).trial["cpu"] == 4
    assert resources_of(tiny, cores=2).trial["cpu"] == 2
    said = experiment(**LARGE, resources={"cpus_per_trial": 1})
    assert resources_of(said, cores=2).trial["cpu"] == 1


def test_a_cluster_that_grows_is_asked_for_gpus(machines: Callable[..., None]) -> None:
    machines({"CPU": 2})
    wanted = experiment(resources={"device": "cuda", "concurrent": 3})
    asked = resources_of(wanted, can_grow=True)
    assert (asked.trial, asked.concurrent, asked.device) == ({"cpu": 1, "gpu": 1}, 3, "cuda")


@pytest.mark.parametrize(
    ("machine", "resources"),
    [({"CPU": 2, "GPU": 2}, {}), ({"CPU": 16, "GPU": 4}, {"concurrent": 4}), ({"GPU": 1}, {})],
)
def test_no_gpu_is_shared_where_there_is_nothing_to_share_it_with(
    machines: Callable[..., None], machine: dict[str, float], resources: dict[str, Any]
) -> None:
    """Ray fills one GPU before it takes the next; nothing is measured here."""
    from search.execution.resources import trials_per_gpu

    machines(machine)
    tiny = experiment(resources={**resources, "concurrent": resources.get("concurrent", 4)})
    found = resources_of(tiny, can_grow=True)
    assert trials_per_gpu(tiny, found, None) == (  # type: ignore[arg-type]
        1, "1 to a GPU: there are no more trials, or no more cores, for each"
    )  # fmt: skip


def test_a_small_picture_gets_one_core_all_the_same(machines: Callable[..., None]) -> None:
    machines({"CPU": 8})
    assert shares(candidates=["baseline"], search={"trials": 0}).trial["cpu"] == 1


def test_fewer_trials_at_a_time_leave_more_cores_to_each(machines: Callable[..., None]) -> None:
    machines({"CPU": 8})
    auto = shares(**LARGE, search={"trials": 20}, resources={"concurrent": 2})
    assert (auto.trial["cpu"], auto.concurrent) == (4, 2)


def test_a_gpu_is_shared_as_the_probe_found(machines: Callable[..., None]) -> None:
    machines({"CPU": 8, "GPU": 2})
    tiny = experiment(racing={"enabled": True})
    whole, shared = resources_of(tiny), resources_of(tiny, trials_per_gpu=3)
    assert (whole.trial, whole.concurrent, whole.device) == ({"cpu": 1, "gpu": 1}, 2, "cuda")
    assert shared.trial["gpu"] == pytest.approx(1 / 3)
    assert shared.concurrent == 6
    assert shared.whole == {"cpu": 1, "gpu": 1}
    assert wants_probe(tiny, whole)


@pytest.mark.parametrize("resources", [{"gpus_per_trial": 0.5}, {"device": "cpu"}, {"together": 4}])
def test_nothing_is_probed_that_was_said(
    machines: Callable[..., None], resources: dict[str, Any]
) -> None:
    machines({"CPU": 8, "GPU": 2})
    said = experiment(resources=resources)
    assert not wants_probe(said, resources_of(said))


def test_a_gpu_that_is_not_there_is_refused(machines: Callable[..., None]) -> None:
    machines({"CPU": 8})
    with pytest.raises(InputError, match=r"resources\.device is cuda and there is no GPU"):
        shares(resources={"device": "cuda"})


@pytest.mark.parametrize(
    ("machine", "changes", "expected"),
    [
        ({"CPU": 4}, {}, 1),
        ({"CPU": 4, "GPU": 1}, {}, 16),
        ({"CPU": 4, "GPU": 1}, {"resources": {"together": 3}}, 3),
        ({"CPU": 4, "GPU": 1}, {"racing": {"enabled": True}}, 1),
        ({"CPU": 4, "GPU": 1}, {"racing": {"enabled": True}, "resources": {"together": 3}}, 3),
    ],
)
def test_replicates_are_trained_side_by_side_on_a_gpu_that_does_not_race(
    machines: Callable[..., None],
    machine: dict[str, float],
    changes: dict[str, Any],
    expected: int,
) -> None:
    machines(machine)
    asked = experiment(**{"racing": {"enabled": False}, **changes})
    assert replicates_together(asked, resources_of(asked)) == expected
