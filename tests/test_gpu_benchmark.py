"""The benchmark of a GPU, as far as a machine without one can test it."""

import importlib
import json
import math
import queue
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu")


def test_it_trains_every_task_with_the_packages_that_it_names() -> None:
    """Machines with a GPU that are rented for an hour have few more."""
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


def part(key: str, measure: Callable[[], Any], case: str = "one") -> Any:
    """One case of a part, of 10 s."""
    return importlib.import_module("gpu").Part(key, case, 10, measure)


def test_a_case_that_fails_or_does_not_fit_costs_no_other(gpu: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    parts = gpu.Parts({"device": "one"}, path, 100, None)

    def broken() -> None:
        raise RuntimeError("no such kernel")

    parts.measure(part("checks", lambda: {"finite": True}))
    parts.measure(part("checks", broken, "two"))
    parts.measure(part("checks", lambda: [{"finite": True}], "three"))
    parts._end = time.perf_counter() + 9
    parts.measure(part("price", lambda: pytest.fail("it would end too late")))
    parts._end = time.perf_counter() + 100
    parts.measure(part("out_of_memory", lambda: {"ran out": True}))
    assert json.loads(path.read_text()) == {
        "device": "one",
        "checks": [{"finite": True}, {"finite": True}],
        "out_of_memory": [{"ran out": True}],
        "left_out": ["price: one"],
        "failed": {"checks: two": "RuntimeError: no such kernel"},
    }


def test_a_part_ends_when_the_time_is_over(gpu: ModuleType, tmp_path: Path) -> None:
    parts = gpu.Parts({}, tmp_path / "gpu.json", 0.5, None)

    def endless() -> None:
        try:
            time.sleep(60)
        except Exception:
            pytest.fail("a handler of errors holds it up")

    parts.measure(gpu.Part("speed", "one", 0, endless))
    assert parts.failed == {"speed: one": "the time for all parts is over"}


def test_all_parts_fit_into_a_call(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 15 s for the imports. What decides about goals and `auto` comes before the rest."""
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name)
    parts = gpu.Parts({}, tmp_path / "gpu.json", 100, None)
    plan = gpu.planned("cuda", 3, None, parts)
    assert {each.key for each in plan} == set(gpu.PARTS)
    assert sum(each.expected_s for each in plan) <= gpu.SECONDS - 15
    names = [each.name for each in plan if each.key != "checks"]
    assert names[:4] == [
        "speed: 512/128/5", "speed: 128/128/5", "equivalence: 128/64/5", "equivalence: 64/32/4",
    ]  # fmt: skip
    assert plan[-1].key == "out_of_memory"
    assert len({each.name for each in plan}) == len(plan)


def test_a_part_may_take_its_share_of_the_time_that_is_left(
    gpu: ModuleType, tmp_path: Path
) -> None:
    parts = gpu.Parts({}, tmp_path / "gpu.json", 90, None)
    began, until = time.perf_counter(), []
    parts.measure_all([part("speed", lambda: until.append(parts.until), str(k)) for k in range(3)])
    assert [each - began for each in until] == pytest.approx([30, 45, 90], abs=5)


def test_a_path_that_fails_keeps_the_speed_of_the_others(gpu: ModuleType) -> None:
    """There is no TF32 on a CPU."""
    failed: dict[str, str] = {}
    row = gpu.speed((32, 8, 2), 4, 1, "cpu", None, failed)
    assert list(row["iterations_per_s"]) == ["official loop", "fp32, no graph", "fp32", "bf16"]
    assert all(len(rates) == 1 for rates in row["iterations_per_s"].values())
    assert list(failed) == ["speed: 32/8/2, tf32"]
    tables = importlib.import_module("tables")
    (line,) = [line for line in tables.gpu_speed({"speed": [row]}) if "32/8/2" in line]
    assert line.split(" | ")[4] == "failed"
    assert line.split(" | ")[7] == "–"


def test_a_number_format_that_fails_keeps_the_pairs_of_the_others(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "PICTURES", ("astronaut",))
    monkeypatch.setattr(gpu, "SEEDS", 2)
    parts = SimpleNamespace(failed={}, until=time.perf_counter() + 1000)
    rows = gpu.equivalence((32, 8, 2), ("tf32", "bf16"), 12, "cpu", parts)
    assert {(row["path"], row["n"]) for row in rows} == {("bf16", 4)}
    assert list(parts.failed) == ["equivalence: 32/8/2, tf32"]
    assert {row["censored"] for row in rows} == {8}, "12 iterations are too few for any maximum"
    lines = importlib.import_module("tables").gpu_equivalence({"equivalence": rows})
    assert all("| 4 | 8 of 8 |" in line for line in lines[2:])


def test_paired_runs_go_on_until_their_maxima_are_decided(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the trainings in fp32 of the pairs on a CPU: of these, few would be censored."""
    monkeypatch.setattr(gpu, "PICTURES", ("astronaut",))
    for scale, _, iterations, _ in gpu.EQUIVALENCE:
        rules = {run.stopping for run in gpu._paired(scale, iterations, "fp32", 0)}
        assert rules == {gpu.OracleBoth()}
        kept = json.loads((ROOT / f"benchmarks/precision-{scale[0]}.json").read_text())
        assert kept["scale"] == gpu.words(scale)
        last = iterations - 1 - gpu.OracleBoth().patience
        late = [
            max(pair["fp32"][output]["steps_to_max"] for output in gpu.OUTPUTS) > last
            for pair in kept["pairs"]
        ]
        assert sum(late) <= 0.01 * len(late)


def test_a_format_is_left_out_only_where_it_is_slower_and_never_chosen(gpu: ModuleType) -> None:
    arithmetic = importlib.import_module("dipstage.training.arithmetic")
    chosen = arithmetic.choose(gpu.TrainerSettings(), gpu.torch.device("cuda"), 128, 128)
    assert chosen.precision == "fp32"
    compared = {gpu.words(scale): formats for scale, formats, _, _ in gpu.EQUIVALENCE}
    for row in json.loads((ROOT / "benchmarks/gpu.json").read_text())["speed"]:
        rates = row["iterations_per_s"]
        for left_out in {*gpu.PRECISIONS} - {"fp32", *compared.get(row["scale"], gpu.PRECISIONS)}:
            assert max(rates.get(left_out, [0])) < min(rates["fp32"])


def test_no_seed_begins_that_would_end_too_late(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the slowest so far: here, the first takes 30 s, and all others take 20 s."""
    clock = SimpleNamespace(now=0)
    seconds = iter([20, 10, *[10] * 100])
    score = SimpleNamespace(max_psnr_gt_db=30.0, steps_to_max=500, censored=False)

    def train(runs: list[Any], **_: Any) -> list[Any]:
        clock.now += next(seconds)
        return [SimpleNamespace(scores=lambda output: score) for _ in runs]

    monkeypatch.setattr(gpu, "fit_together", train)
    monkeypatch.setattr(gpu, "_paired", lambda *_: [None, None])
    monkeypatch.setattr(gpu, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    rows = gpu.equivalence((32, 8, 2), ("tf32",), 12, "cpu", SimpleNamespace(failed={}, until=100))
    assert clock.now == 70
    assert {row["n"] for row in rows} == {6}


def test_pairs_of_earlier_seeds_are_kept_if_the_time_is_over(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    score = SimpleNamespace(max_psnr_gt_db=30.0, steps_to_max=500, censored=False)

    def train(runs: list[Any], **_: Any) -> list[Any]:
        if next(calls) == 5:  # In the second format of the third seed.
            raise gpu.TimeIsOver("the time for all parts is over")
        return [SimpleNamespace(scores=lambda output: score) for _ in runs]

    monkeypatch.setattr(gpu, "fit_together", train)
    monkeypatch.setattr(gpu, "_paired", lambda *_: [None, None])
    parts = SimpleNamespace(failed={}, until=math.inf)
    rows = gpu.equivalence((32, 8, 2), ("tf32",), 12, "cpu", parts)
    assert {row["n"] for row in rows} == {4}
    assert parts.failed == {"equivalence: 32/8/2, tf32": "the time for all parts is over"}


def test_the_printed_calls_are_read_and_the_second_is_for_the_larger_pairs(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "benchmarks/README.md").read_text().replace("\\\n", "")
    lines = [line for line in page.splitlines() if "gpu.sh --" in line]
    read = []
    for line in lines:
        call, arguments = line.split(" 2>&1 ")[0].split("gpu.sh ")
        assert call == "PEER=CHECKOUT bash benchmarks/"
        read.append(gpu.arguments_of(shlex.split(arguments)))
    assert [(each.only, each.earlier) for each in read] == [
        (None, None), (["equivalence"], Path("benchmarks/gpu.json")),
    ]  # fmt: skip
    plan = gpu.planned("cuda", 3, None, gpu.Parts({}, tmp_path / "gpu.json", 100, None))
    first, *others = [each for each in plan if each.key == "equivalence"]
    assert first.case == "128/64/5"
    assert first.expected_s > 2 * sum(each.expected_s for each in others)


def test_a_process_that_fails_is_not_waited_for(gpu: ModuleType) -> None:
    members = [SimpleNamespace(exitcode=code) for code in (None, 1, 0)]
    with pytest.raises(RuntimeError, match="a process has ended with exit code 1"):
        gpu.gathered(queue.Queue(), members, 60)


def test_running_out_of_memory_is_told_even_if_nothing_trains_afterwards(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu.torch.cuda, "mem_get_info", lambda device: (1000, 1000))
    monkeypatch.setattr(gpu, "fit_together", broken)
    failed: dict[str, str] = {}
    row = gpu.out_of_memory("cpu", failed)
    assert row == {"ran out": True, "recognised": True, "trains afterwards": False}
    assert list(failed) == ["out_of_memory: training afterwards"]


def test_running_out_of_memory_is_a_check_too(gpu: ModuleType) -> None:
    good = {"ran out": True, "recognised": True, "trains afterwards": True}
    content = {"checks": [{"finite": True}], "out_of_memory": [good]}
    assert gpu.is_good(content)
    for key in good:
        assert not gpu.is_good(content | {"out_of_memory": [good | {key: False}]})


def test_the_file_of_another_machine_is_not_replaced_by_some_parts(
    gpu: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "gpu.json", {"device": "two"}
    path.write_text(json.dumps({"device": "one", "speed": [2]}))
    assert gpu.output_for(path, other) == tmp_path / "gpu-other.json"
    assert gpu.others_of(path, other, ["price"]) == {}
    assert capsys.readouterr().out.count(f"{path} is of another machine") == 2
    assert gpu.output_for(tmp_path / "new.json", other) == tmp_path / "new.json"


@pytest.mark.parametrize("option", ["--peer", "--earlier"])
def test_a_file_that_is_not_there_is_refused_before_anything_is_measured(
    gpu: ModuleType, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        gpu.arguments_of([option, str(tmp_path)])
    assert f"{option} {tmp_path}" in capsys.readouterr().err


def test_the_script_keeps_the_given_search_path_of_modules() -> None:
    """Rented machines have packages in folders of their own."""
    script = (ROOT / "benchmarks/gpu.sh").read_text()
    line = next(line for line in script.splitlines() if "PYTHONPATH" in line)
    shown = "set -eu; export " + line.split()[0] + '; printf %s "$PYTHONPATH"'
    for given, expected in (({}, "."), ({"PYTHONPATH": "/a:/b"}, ".:/a:/b")):
        done = subprocess.run(
            ["bash", "-c", shown], env=given, capture_output=True, text=True, check=True
        )
        assert done.stdout == expected


def test_some_parts_are_measured_and_the_others_kept(gpu: ModuleType, tmp_path: Path) -> None:
    path, machine = tmp_path / "gpu.json", {"device": "one", "load": 0.1}
    assert gpu.others_of(path, machine, ["price"]) == {}
    path.write_text(json.dumps({**machine, "price": [1], "speed": [2], "failed": {"price": "x"}}))
    assert gpu.others_of(path, machine | {"load": 2.0}, ["price"]) == {"speed": [2]}
    assert gpu.output_for(path, machine) == path
    parts = gpu.Parts({}, path, 100, ["price"])
    asked = part("price", lambda: {"scale": "64/32/4"})
    parts.measure_all([part("speed", lambda: pytest.fail("it was not asked for")), asked])
    assert json.loads(path.read_text())["price"] == [{"scale": "64/32/4"}]


def test_what_failed_or_was_left_out_is_kept_with_the_parts_that_are_kept(
    gpu: ModuleType, tmp_path: Path
) -> None:
    """The peer belongs to the speeds: a call that keeps them needs none, nor the same."""
    path, machine = tmp_path / "gpu.json", {"device": "one", "peer": "ours"}
    earlier = {
        "device": "one", "peer": "its own network", "speed": [2],
        "left_out": ["price: 128/64/5", "speed: 128/128/5", "together: 64/32/4 fp32, 1"],
        "failed": {"price: 64/32/4": "x", "speed: 512/128/5, tf32": "y"},
    }  # fmt: skip
    path.write_text(json.dumps(earlier))
    assert gpu.others_of(path, machine, ["speed", "together"]) == {
        "left_out": ["price: 128/64/5"], "failed": {"price: 64/32/4": "x"},
    }  # fmt: skip
    assert gpu.output_for(path, machine) == path
    content = machine | gpu.others_of(path, machine, ["price"])
    parts = gpu.Parts(content, path, 100, ["price"])
    parts.measure_all([part("price", lambda: {"scale": "64/32/4"})])
    assert json.loads(path.read_text()) == earlier | {
        "price": [{"scale": "64/32/4"}],
        "left_out": ["speed: 128/128/5", "together: 64/32/4 fp32, 1"],
        "failed": {"speed: 512/128/5, tf32": "y"},
    }
