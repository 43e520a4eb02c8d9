"""Figures of a run: what they show, what they rest on, and the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from curved_runs import LONG, curved
from fake_runs import CONTENT, KEYS, experiment, new_run, outcome, play
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from dipstage.errors import InputError
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from dipstage.terminal.plots import save_figure
from search import Run
from search.execution.ledger import Ledger
from search.plots.comparison import plot_comparison
from search.plots.labels import label_points
from search.plots.schedules import stage_indices
from search.plots.spread import spread_of
from search.plots.style import STYLES, Plot, Style, drawing
from search.store.paths import curve_path
from search.store.replicate import Replicate

pytestmark = pytest.mark.long

FIGURES: dict[str, Callable[[Run], Plot]] = {
    "front": lambda run: run.plot_front(),
    "paper": lambda run: run.plot_front("paper"),
    "curves": lambda run: run.plot_curves(),
    "schedule": lambda run: run.plot_schedule(style="paper"),
    "importance": lambda run: run.plot_importance("paper"),
    "attainment": lambda run: run.plot_attainment(),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with curves."""
    return curved(tmp_path_factory.mktemp("curved"))


def points(line: Line2D) -> list[tuple[float, float]]:
    """A line's points."""
    xs, ys = (np.asarray(values, np.float64).tolist() for values in line.get_data())
    return list(zip(xs, ys, strict=True))


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Points of each line that the legend names."""
    named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): points(line) for line in named}


def legend(figure: Plot) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_files_are_the_same_each_time_whatever_the_user_s_settings(
    run: Run, tmp_path: Path, name: str
) -> None:
    before = dict(mpl.rcParams)
    for suffix in ("svg", "pdf", "png"):
        save_figure(FIGURES[name](run), tmp_path / f"a.{suffix}")
        with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "pdf.fonttype": 3}):
            save_figure(FIGURES[name](run), tmp_path / f"b.{suffix}")
            FIGURES[name](run).savefig(tmp_path / f"c.{suffix}")
        content = (tmp_path / f"a.{suffix}").read_bytes()
        assert content == (tmp_path / f"b.{suffix}").read_bytes()
        assert content == (tmp_path / f"c.{suffix}").read_bytes()
    assert dict(mpl.rcParams) == before


def test_paper_is_a_column_wide_in_8_points_with_fonts_embedded_and_no_title(
    run: Run, tmp_path: Path
) -> None:
    figure = run.plot_curves(style="paper")
    assert figure.get_figwidth() == 3.4
    assert figure.get_suptitle() == ""
    [axes] = figure.axes
    sizes = {axes.xaxis.label.get_fontsize(), *(t.get_fontsize() for t in axes.get_xticklabels())}
    assert sizes == {8}
    save_figure(figure, tmp_path / "a.pdf")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    screen = run.plot_curves()
    assert screen.get_figwidth() == 7
    assert screen.get_suptitle().startswith("tiny: raw output")


@pytest.mark.parametrize("style", STYLES)
def test_nothing_leaves_the_page_and_no_name_hides_another(run: Run, style: Style) -> None:
    front = run.plot_front(style)
    for figure in (front, run.plot_importance(style), run.plot_attainment(style=style)):
        figure.draw_without_rendering()
        page = figure.bbox.padded(1)
        texts = [t for axes in figure.axes for t in axes.texts if t.get_text()]
        boxes = [text.get_window_extent() for text in [*texts, *figure.legends[0].get_texts()]]
        assert all(page.x0 <= box.x0 and box.x1 <= page.x1 for box in boxes)
        named = boxes[: len(texts)] if figure is front else []
        for i, box in enumerate(named):
            assert not any(box.overlaps(other) for other in named[i + 1 :])


def test_long_titles_wrap(run: Run) -> None:
    with drawing("screen", 0.7) as figure:
        figure.explain("word " * 40, "")
    figure.draw_without_rendering()
    [title] = figure.texts
    box = title.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_a_notebook_shows_a_figure_without_pyplot(run: Run) -> None:
    assert run.plot_front()._repr_png_().startswith(b"\x89PNG")


def test_no_style_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="style must be screen or paper, got 'poster'"):
        run.plot_front("poster")  # type: ignore[arg-type]


def test_the_front_shows_all_kinds_and_hides_what_lies_below(run: Run) -> None:
    figure = run.plot_front()
    [axes] = figure.axes
    shown = lines(axes)
    assert set(shown) == {"sampled, dominated", "sampled, front", "candidate", "knee"}
    assert (15.0, 26.0) in shown["candidate"]
    assert (28.0, 22.5) in shown["sampled, dominated"]
    assert sum(map(len, shown.values())) - 1 == 12
    above = run.plot_front(from_db=23.2)
    assert (28.0, 22.5) not in lines(above.axes[0])["sampled, dominated"]
    assert above.axes[0].get_ylim()[0] == 23.2
    assert "3 below 23.2 dB not shown" in above.caption


def test_paired_bars_take_off_what_a_replicate_adds_to_all_trials(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 0}))
    ledger = Ledger(run.study, run.experiment, KEYS)
    hardness = dict(zip(KEYS, (0.0, 1.0, 4.0, 9.0), strict=True))
    luck = {0: (0.0, 0.0, 0.0, 0.0), 1: (0.4, -0.4, 0.4, -0.4)}
    for number in (0, 1):
        work = ledger.next()
        assert work is not None
        for key, extra in zip(KEYS, luck[number], strict=True):
            ledger.record(number, key, outcome(25 + hardness[key] + extra, 10))
        ledger.finish(number, None)
    trial = run.records()[1]
    key = "max_psnr_gt_db"
    paired = spread_of(run, "raw", "paired", [key])
    # What is left is half of the luck; with two trials Morey's correction doubles the variance.
    left = np.std([0.2, -0.2, 0.2, -0.2], ddof=1) * np.sqrt(2) / np.sqrt(4)
    assert paired.of(trial, "raw", key) == pytest.approx(left)
    plain = spread_of(run, "raw", "std", [key])
    values = [25 + hardness[k] + extra for k, extra in zip(KEYS, luck[1], strict=True)]
    assert plain.of(trial, "raw", key) == pytest.approx(np.std(values, ddof=1))
    assert spread_of(run, "raw", "none", [key]).of(trial, "raw", key) == 0


def test_curves_are_means_over_replicates_as_far_as_all_go(run: Run) -> None:
    figure = run.plot_curves(1, "baseline")
    shown = lines(figure.axes[0])
    curve = shown["log10: 26.00 dB at 15"]
    assert len(curve) == 27
    assert curve[15] == (15, 26)
    assert curve[20] == (20, 21)
    assert "baseline: 25.00 dB at 20" in shown
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [points(mark)[0][0] for mark in marks[:2]] == [15, 20]
    switches = next(line for line in figure.axes[0].lines if line.get_marker() == "|")
    schedule = run.records()[1].schedule
    assert schedule is not None
    assert [x for x, _ in points(switches)] == [s for s in schedule.starts[1:] if s < 27]


def test_a_maximum_of_psnr_is_not_marked_for_that_of_ssim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(psnr_db: float, steps: float) -> Replicate:
        made = outcome(psnr_db, steps)
        return replace(made, raw=replace(made.raw, ssim_censored=True))

    monkeypatch.setattr("fake_runs.outcome", cut)
    run = curved(tmp_path, objective={"metric": "ssim"})
    assert run.records()[1].censored("raw") == len(KEYS)
    assert "log10: 26.00 dB at 15" in lines(run.plot_curves(1).axes[0])


def test_by_default_curves_are_of_the_knee_and_the_candidates(run: Run) -> None:
    knee = run.pick("knee")
    assert knee.candidate is None
    shown = legend(run.plot_curves(style="paper"))
    assert shown == [f"{knee.name} (knee)", "baseline", "log10", LONG, "stage switch",
                     "mean of the maxima"]  # fmt: skip


def test_both_outputs_have_a_panel_each(run: Run) -> None:
    both = run.plot_curves("psnr", output="both")
    raw, smoothed = both.axes
    assert (raw.get_ylabel(), smoothed.get_ylabel()) == (
        "PSNR$_{GT}$, raw (dB)", "PSNR$_{GT}$, smoothed (dB)",
    )  # fmt: skip
    name = run.pick("psnr").name
    [high] = [ys for label, ys in lines(smoothed).items() if label.startswith(name)]
    [low] = [ys for label, ys in lines(raw).items() if label.startswith(name)]
    assert high[3][1] == low[3][1] + 1
    with pytest.raises(InputError, match="output must be raw, smoothed or both, got 'mean'"):
        run.plot_curves(output="mean")  # type: ignore[arg-type]


def test_trials_are_chosen_by_number_name_and_pick_each_once(run: Run) -> None:
    numbered = run.plot_schedule(2, LONG, "trial 3", "psnr", style="paper")
    assert legend(numbered) == [LONG, "trial 3 (knee)"]
    with pytest.raises(InputError, match="has no trial 'log11': choose by number, by knee"):
        run.plot_schedule("log11")
    with pytest.raises(InputError, match="trial 4 has nothing to draw: it is failed"):
        run.plot_curves(4)
    empty = new_run(run.folder.parent / "empty", experiment())
    with pytest.raises(InputError, match="run 'tiny' has no trial to draw yet"):
        empty.plot_curves()


def test_staircases_are_those_of_the_report(tmp_path: Path) -> None:
    tiny = experiment(
        candidates=["uniform", "sharp-linear", "log10", "baseline"],
        search={"trials": 0},
        trainer={"iterations": 100, "width": 4, "scales": 1, "input_depth": 4, "patience": 5},
    )
    run = play(new_run(tmp_path, tiny), lambda number: (25.0, 20))
    shown = lines(run.plot_schedule().axes[0])
    # Index of the stage and the first iteration that trains on it.
    stairs = {
        "uniform": "1:0 2:7 3:19 4:31 5:44 6:56 7:69 8:81 9:93",
        "sharp-linear": "1:0 2:1 3:10 4:20 5:30 6:40 7:50 8:60 9:70",
        "log10": "1:0 7:1 8:4 9:32",
    }
    assert set(shown) == set(stairs)
    for name, text in stairs.items():
        found = next(line for label, line in shown.items() if label.startswith(name))
        expected = [(int(at), int(i)) for i, at in re.findall(r"(\d+):(\d+)", text)]
        assert found == [*expected, (100, 9)]


def test_levels_are_the_schedule_s_own(run: Run, tmp_path: Path) -> None:
    trial = run.records()[2]
    assert trial.schedule is not None
    starts, bars = trial.schedule.starts, [stage.alpha_bar for stage in trial.schedule.stages]
    [alpha] = lines(run.plot_schedule(2, level="alpha-bar").axes[0]).values()
    assert alpha == [*zip(starts, bars, strict=True), (30, 1.0)]
    [sigma] = lines(run.plot_schedule(2, level="sigma").axes[0]).values()
    assert [y for _, y in sigma[:-1]] == pytest.approx([127.5 * (1 - a) ** 0.5 for a in bars])
    space = {**CONTENT["space"], "targets": ["contrast"]}
    reduced = play(new_run(tmp_path, experiment(space=space)), lambda number: (25.0, 20))
    [none] = lines(reduced.plot_schedule(2, level="sigma").axes[0]).values()
    assert {y for _, y in none} == {0}
    with pytest.raises(InputError, match="level must be stage, alpha-bar, sigma, got 'beta'"):
        run.plot_schedule(level="beta")  # type: ignore[arg-type]


def test_a_sampled_trial_s_stages_keep_the_index_of_their_noise_level(run: Run) -> None:
    for trial in run.records():
        if trial.candidate or trial.schedule is None:
            continue
        point = run.point(trial)
        assert point is not None
        indices = stage_indices(run, trial, trial.schedule)
        assert indices[-1] == point.family.stages
        assert indices == sorted(set(indices))


def test_importance_has_a_bar_for_each_parameter_and_objective(run: Run) -> None:
    figure = run.plot_importance()
    [axes] = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert {"stages", "ramp", "max_level"} <= set(names)
    assert len(axes.patches) == 2 * len(names)
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(2)  # type: ignore[attr-defined]
    assert figure.caption.startswith("fANOVA over")
    few = new_run(run.folder.parent / "few", experiment())
    with pytest.raises(InputError, match="importance needs 8 complete sampled trials, tiny has 0"):
        few.plot_importance()


def test_best_so_far_shows_the_best_for_the_budget_beside_the_candidates(run: Run) -> None:
    figure = run.plot_attainment(10)
    assert legend(figure) == ["envelope", "trial 3", "baseline", "log10", LONG]
    assert "trial 3 is best within 10 iterations" in figure.caption
    shown = lines(figure.axes[0])
    assert shown["log10"][29] == (29, 26)
    assert max(y for _, y in shown["envelope"]) == 27
    assert figure.axes[0].texts[0].get_text() == "10 iterations"
    assert not run.plot_attainment().axes[0].texts


def test_candidates_keep_their_line_in_all_figures(run: Run) -> None:
    def look(figure: Plot) -> tuple[object, object]:
        line = next(x for x in figure.axes[0].lines if str(x.get_label()).startswith("log10"))
        return line.get_color(), line.get_linestyle()

    assert (
        look(run.plot_curves("knee", "log10"))
        == look(run.plot_schedule("log10", 2))
        == look(run.plot_attainment())
    )


@pytest.mark.parametrize("name", ["a$\\x$", "_mine"])
def test_a_candidate_s_name_is_shown_as_it_is(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.yaml"
    save_schedule(file, ScheduleFile(parse_preset("uniform").schedule(30)))
    run = curved(tmp_path, candidates=["baseline", "log10", str(file)])
    assert name in [trial.name for trial in run.records()]
    for key in ("front", "curves", "schedule", "attainment"):
        figure = FIGURES[key](run)
        figure.draw_without_rendering()
        texts = [*legend(figure), *(text.get_text() for text in figure.axes[0].texts)]
        assert any(text.startswith(name) for text in texts), key


def test_a_comparison_names_runs_whose_paths_begin_with_an_underscore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [
        play(new_run(Path(name), experiment()), lambda number: (25.0 + number, 9))
        for name in ("_old", "new")
    ]
    drawn = plot_comparison(runs).axes[0].get_legend()
    assert drawn is not None
    assert [text.get_text() for text in drawn.get_texts()] == ["_old/tiny", "new/tiny"]


def test_names_give_way_to_points_and_to_one_another() -> None:
    with drawing("paper", 1) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        points = [(0.5, 0.5, "one"), (0.5, 0.52, "two"), (0.52, 0.5, "three"), (0.98, 0.98, "end")]
        label_points(figure, axes, points, [(0.55, 0.55)], 7)
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
        inside = axes.get_window_extent()
        assert inside.contains(boxes[3].x0, boxes[3].y0)
        assert inside.contains(boxes[3].x1, boxes[3].y1)


def test_names_give_way_to_lines() -> None:
    right = (0.5, 0.55, 0.9, 0.55)
    for strokes in ([], [right]):
        with drawing("paper", 1) as figure:
            axes = figure.subplots()
            axes.set(xlim=(0, 1), ylim=(0, 1))
            label_points(figure, axes, [(0.5, 0.5, "a point")], [], 7, strokes)
            name = axes.texts[0].get_window_extent()
            line = Bbox(axes.transData.transform([right[:2], right[2:]]))
            assert line.padded(0.1).overlaps(name) == (not strokes)


def test_a_maximum_beyond_the_end_of_its_mean_curve_is_joined_to_it(tmp_path: Path) -> None:
    """The mean curve ends with the shortest replicate, the mean of the maxima need not."""
    run = curved(tmp_path)
    trial = run.records()[0]
    first = next(iter(trial.replicates))
    end = round(trial.measure("raw", "steps_to_max").mean) - 2
    path = curve_path(run.folder, trial.number, first)
    with np.load(path) as file:
        arrays = {name: array[:end] for name, array in file.items()}
    np.savez(path, **arrays)
    [axes] = run.plot_curves(trial.number).axes
    [stem] = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert points(stem)[0][0] == end - 1
    assert points(stem)[1][0] == trial.measure("raw", "steps_to_max").mean
