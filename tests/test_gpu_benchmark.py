"""The benchmark of a GPU, as far as a machine without one can test it."""

import importlib
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu")


def test_it_trains_every_task_with_the_packages_that_it_names() -> None:
    """Machines with a GPU that are lent for an hour have few more."""
    script = """
        import sys
        from importlib.metadata import packages_distributions, requires

        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        modules = packages_distributions()
        installed = {canonicalize_name(each) for packages in modules.values() for each in packages}
        named, needed = {"torch", "numpy", "scipy", "scikit-image", "psutil"}, set()
        while named:
            needed.add(name := named.pop())
            for line in requires(name) or []:
                each = Requirement(line)
                if each.marker is None or each.marker.evaluate({"extra": ""}):
                    named |= {canonicalize_name(each.name)} & installed - needed
        missing = {
            module
            for module, packages in modules.items()
            if not needed & {canonicalize_name(each) for each in packages}
        } - {"dipstage"}

        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in missing:
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Missing())
        sys.path[:0] = ["benchmarks", "."]
        import gpu
        for task in (None, gpu.SuperResolve(2), gpu.Inpaint()):
            [outcome] = gpu.fit_together([gpu.job((32, 8, 2), 12, "fp32", task=task)])
            assert outcome.iterations == 12
        try:
            import imagecodecs
        except ModuleNotFoundError:
            print("without imagecodecs")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "without imagecodecs" in done.stdout


def test_a_part_that_fails_or_does_not_fit_costs_no_other(gpu: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    parts = gpu.Parts({"device": "one"}, path, 100, None)

    def broken() -> None:
        raise RuntimeError("no such kernel")

    parts.measure("checks", lambda: [{"finite": True}])
    parts.measure("speed", broken)
    parts.measure("speed", lambda: {"scale": "64/32/4"})
    parts._end = time.perf_counter() + gpu.EXPECTED_S["price"] - 1
    parts.measure("price", lambda: pytest.fail("it would end too late"))
    parts.measure("out_of_memory", lambda: {"ran out": True})
    parts._end = time.perf_counter()
    parts.measure("equivalence", lambda: pytest.fail("it would end too late"))
    assert json.loads(path.read_text()) == {
        "device": "one",
        "checks": [{"finite": True}],
        "speed": [{"scale": "64/32/4"}],
        "out_of_memory": [{"ran out": True}],
        "left_out": ["price", "equivalence"],
        "failed": {"speed": "RuntimeError: no such kernel"},
    }


def test_a_part_ends_when_the_time_is_over(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu.EXPECTED_S, "speed", 0)
    parts = gpu.Parts({}, tmp_path / "gpu.json", 0.5, None)
    parts.measure("speed", lambda: time.sleep(60))
    assert parts.failed == {"speed": "TimeoutError: the time for all parts is over"}


def test_some_parts_are_measured_and_the_others_kept(gpu: ModuleType, tmp_path: Path) -> None:
    path, machine = tmp_path / "gpu.json", {"device": "one", "load": 0.1}
    assert gpu.others_of(path, machine, ["price"]) == {}
    path.write_text(json.dumps({**machine, "price": [1], "speed": [2], "failed": {"price": "x"}}))
    assert gpu.others_of(path, machine | {"load": 2.0}, ["price"]) == {"speed": [2]}
    with pytest.raises(SystemExit, match="of another machine"):
        gpu.others_of(path, machine | {"device": "two"}, ["price"])
    parts = gpu.Parts({}, path, 100, ["price"])
    parts.measure("speed", lambda: pytest.fail("it was not asked for"))
    parts.measure("price", lambda: {"scale": "64/32/4"})
    assert json.loads(path.read_text())["price"] == [{"scale": "64/32/4"}]
