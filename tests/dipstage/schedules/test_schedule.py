"""Laws of the whole family, and the report's staircases."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dipstage.errors import InputError
from dipstage.schedules.controls import in_reverse
from dipstage.schedules.noise import ALPHA_BARS, NoiseLevels, TotalNoiseLevels
from dipstage.schedules.presets import PRESETS, parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Family, Schedule, Stage
from dipstage.schedules.splits import AnySplit, FreeSplit, LogSplit, PowerSplit, share_out


def splits(noised: int) -> st.SearchStrategy[AnySplit]:
    """Any split for so many noised stages."""
    weights = st.lists(st.floats(0.001, 1), min_size=noised, max_size=noised)
    return st.one_of(
        st.floats(0.05, 20).map(PowerSplit),
        st.just(LogSplit()),
        weights.map(lambda w: FreeSplit(tuple(w))),
    )


@st.composite
def families(draw: st.DrawFn) -> tuple[Family, int]:
    """A family and a budget that it fits."""
    budget = draw(st.integers(2, 3000))
    stages = draw(st.integers(1, 60))
    if stages == 1:
        return Family(1), budget
    noise = NoiseLevels(draw(st.sampled_from(sorted(ALPHA_BARS))), draw(st.floats(0.01, 1)))
    ramp = draw(st.integers(1, budget - 1))
    return Family(stages, draw(splits(stages - 1)), ramp, noise), budget


@pytest.mark.long
@given(families())
def test_every_iteration_belongs_to_exactly_one_stage(drawn: tuple[Family, int]) -> None:
    family, budget = drawn
    schedule = family.schedule(budget)
    covered = [
        i
        for start, stage in zip(schedule.starts, schedule.stages, strict=True)
        for i in range(start, start + stage.iterations)
    ]
    assert covered == list(range(budget))


@pytest.mark.long
@given(families())
def test_stages_go_from_heavy_noise_to_the_observation(drawn: tuple[Family, int]) -> None:
    family, budget = drawn
    schedule = family.schedule(budget)
    assert schedule.stages[-1].alpha_bar == 1
    assert schedule.ramp == family.ramp
    assert all(a.alpha_bar < b.alpha_bar for a, b in pairwise(schedule.stages))
    assert len(schedule.stages) <= family.stages


@given(families(), st.integers(1, 5000))
def test_scaling_covers_the_new_budget_and_ends_on_the_observation(
    drawn: tuple[Family, int], budget: int
) -> None:
    schedule = drawn[0].schedule(drawn[1])
    scaled = schedule.scaled(budget)
    assert scaled.iterations == budget
    assert scaled.stages[-1].alpha_bar == 1
    assert schedule.scaled(schedule.iterations) == schedule


def test_rescaling_keeps_the_ramp_and_scales_the_added_noise() -> None:
    recipe = Recipe(learning_rate=0.005, input_noise_std=0.03)
    schedule = Schedule((Stage(0.2, 30), Stage(0.8, 20), Stage(1.0, 150)), recipe)
    assert schedule.rescaled(1000) == schedule.extended(1000)
    assert schedule.rescaled(40) == schedule.scaled(40)
    noisier = schedule.rescaled(1000, noise=2.0)
    assert noisier.ramp == 50
    for before, after in zip(schedule.stages[:-1], noisier.stages[:-1], strict=True):
        added, twice = (1 / s.alpha_bar - 1 for s in (before, after))
        assert twice == pytest.approx(4 * added)  # Variance of the noise over the signal's.
    assert noisier.stages[-1].alpha_bar == 1
    assert noisier.recipe.learning_rate == 0.005
    assert noisier.recipe.input_noise_std == pytest.approx(0.03 * 2**0.5)
    back = noisier.rescaled(200, noise=0.5)
    assert [s.alpha_bar for s in back.stages] == pytest.approx([0.2, 0.8, 1.0])
    for wrong in (0.0, -1.0, float("nan"), float("inf"), 1e-320, 1e200):
        with pytest.raises(InputError, match="noise must be from 1e-9 to 1e9 times the schedule's"):
            schedule.rescaled(1000, wrong)
    with pytest.raises(InputError, match=r"with 1e-08 times .* \(sigma\), its stages no longer"):
        schedule.rescaled(1000, 1e-8)


@given(st.floats(1, 100), st.floats(0.1, 4), st.floats(0.3, 12), st.integers(1, 40))
def test_rescaling_multiplies_the_total_noise_by_the_ratio_of_sigmas(
    sigma: float, noise: float, rho: float, noised: int
) -> None:
    """So the levels stay above the new observation's own noise, by the same factor."""
    levels = TotalNoiseLevels(sigma, 40 * sigma, 1.1 * sigma, rho).alpha_bars(noised)
    schedule = Schedule.of([*levels, 1.0], [3] * (noised + 1))
    after = schedule.rescaled(schedule.iterations, noise)
    scaled = TotalNoiseLevels(noise * sigma, noise * 40 * sigma, noise * 1.1 * sigma, rho)
    assert [s.alpha_bar for s in after.stages[:-1]] == pytest.approx(scaled.alpha_bars(noised))


@given(families(), st.floats(0.1, 10), st.integers(1, 5000))
def test_rescaling_gives_a_schedule_of_the_budget(
    drawn: tuple[Family, int], noise: float, budget: int
) -> None:
    assert drawn[0].schedule(drawn[1]).rescaled(budget, noise).iterations == budget


@given(families())
def test_pairs_are_exact(drawn: tuple[Family, int]) -> None:
    schedule = drawn[0].schedule(drawn[1])
    assert Schedule.from_pairs(schedule.pairs) == schedule


def test_power_split_has_the_edges_of_its_formula() -> None:
    family = Family(29, PowerSplit(2.06), 297, NoiseLevels("linear", 0.59))
    edges = [297 * (k / 28) ** 2.06 for k in range(29)]
    counts = share_out(np.array(edges))
    levels = NoiseLevels("linear", 0.59).alpha_bars(28)
    expected = Schedule.of([*levels, 1.0], [*counts, 303])
    assert family.schedule(600) == expected


def test_log_split_gives_each_stage_ten_times_the_one_before() -> None:
    assert np.diff(LogSplit().edges(3, 1110)) == pytest.approx([10, 100, 1000])


def test_free_split_gives_each_stage_its_share() -> None:
    assert np.diff(FreeSplit((1, 2, 7)).edges(3, 50)) == pytest.approx([5, 10, 35])


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=40), st.integers(1, 400))
def test_every_noised_stage_gets_an_iteration_and_a_share_of_the_rest(
    weights: list[float], ramp: int
) -> None:
    counts = share_out(FreeSplit(tuple(weights)).edges(len(weights), ramp))
    assert sum(counts) == ramp
    if ramp < len(weights):
        return
    shares = np.array(weights) / sum(weights) * (ramp - len(weights))
    assert min(counts) >= 1
    assert np.abs(np.array(counts) - 1 - shares).max() < 1


def test_largest_remainders_get_what_rounding_leaves_over() -> None:
    # Of 10 iterations, 7 are shared: 1.4, 3.5 and 2.1.
    assert share_out(np.array([0, 2.0, 7.0, 10.0])) == [2, 5, 3]


def test_a_schedule_says_what_an_iteration_trains_with() -> None:
    recipe = Recipe(learning_rate=0.005, ramp_learning_rate=0.02, input_noise_std=0.01)
    schedule = Schedule((Stage(0.5, 2), Stage(0.9, 1), Stage(1.0, 3)), recipe)
    assert [schedule.at(i) for i in (0, 1, 2, 3, 5)] == [
        (0, 0.5, 0.02, 0.01), (0, 0.5, 0.02, 0.01), (1, 0.9, 0.02, 0.01),
        (2, 1.0, 0.005, 0.01), (2, 1.0, 0.005, 0.01),
    ]  # fmt: skip
    assert Schedule.plain(5).at(4) == (0, 1.0, None, None)
    for outside in (-1, 6):
        with pytest.raises(IndexError, match="from 0 to 5"):
            schedule.at(outside)


@given(families())
def test_a_schedule_keeps_its_recipe_whatever_is_made_of_it(drawn: tuple[Family, int]) -> None:
    recipe = Recipe(learning_rate=0.5, ema=0.9)
    schedule = drawn[0].schedule(drawn[1], recipe)
    for made in (
        schedule, schedule.scaled(77), schedule.extended(drawn[1] + 5), in_reverse(schedule),
    ):  # fmt: skip
        assert made.recipe == recipe


STAIRCASES_100 = {
    "uniform": {1: 0, 2: 7, 3: 19, 4: 31, 5: 44, 6: 56, 7: 69, 8: 81, 9: 93},
    "sharp-linear": {1: 0, 2: 1, 3: 10, 4: 20, 5: 30, 6: 40, 7: 50, 8: 60, 9: 70},
    "log10": {1: 0, 7: 1, 8: 4, 9: 32},
}


@pytest.mark.parametrize("name", sorted(STAIRCASES_100))
def test_presets_are_the_staircases_as_drawn_at_100_iterations(name: str) -> None:
    schedule = parse_preset(name).schedule(100)
    levels = [*NoiseLevels("linear", 1.0).alpha_bars(8), 1.0]
    drawn = {
        levels.index(stage.alpha_bar) + 1: start
        for stage, start in zip(schedule.stages, schedule.starts, strict=True)
    }
    assert drawn == STAIRCASES_100[name]


@pytest.mark.parametrize(
    ("preset", "last_switch"),
    [("uniform", 1875), ("sharp-linear", 70), ("sharp-linear:stages=50", 480), ("log10", 633)],
)
def test_presets_switch_to_the_last_stage_as_drawn_at_2000_iterations(
    preset: str, last_switch: int
) -> None:
    schedule = parse_preset(preset).schedule(2000)
    assert schedule.ramp == last_switch
    assert schedule.iterations == 2000


@pytest.mark.parametrize("name", sorted(PRESETS))
@given(budget=st.integers(81, 4000))
def test_every_preset_covers_its_budget(name: str, budget: int) -> None:
    assert parse_preset(name).schedule(budget).iterations == budget


def test_preset_parameters_act() -> None:
    assert parse_preset("sharp-linear:stages=5,x=20").schedule(600).starts == (0, 1, 20, 40, 60)
    heavy = parse_preset("uniform:stages=3,beta=cosine,max_level=0.5").schedule(100)
    assert [s.alpha_bar for s in heavy.stages[:2]] == list(NoiseLevels("cosine", 0.5).alpha_bars(2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("log11", "unknown preset 'log11': choose one of baseline"),
        ("baseline:stages=3", "has no parameter 'stages'"),
        ("uniform:stages=1e9", "stages must be a whole number, got '1e9'"),
        ("uniform:stages=x", "stages must be a whole number, got 'x'"),
        ("uniform:stages=1_0", "stages must be a whole number, got '1_0'"),
        ("uniform:stages=٣", "stages must be a whole number, got '٣'"),
        ("uniform:max_level=nan", "max_level must be a number, got 'nan'"),
        ("uniform:stages=3,stages=4", "gives stages twice: keep one"),
        ("uniform:stages=1", "stages must be from 2 to 300, got 1"),
        ("sharp-linear:x=0", "x must be at least 1 iteration, got 0"),
        ("sharp-linear:stages=2,x=100000000000000000000", "x must be at most 1,000,000 iterations"),
        ("log10:beta=square", "beta must be one of"),
    ],
)
def test_bad_presets_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_preset(text)


def test_a_budget_smaller_than_the_ramp_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match="more than the ramp of 70, got 50"):
        parse_preset("sharp-linear").schedule(50)
    family = Family(3, PowerSplit(), 40, NoiseLevels())
    with pytest.raises(InputError, match="more than the ramp of 40, got 40"):
        family.schedule(40)


@pytest.mark.parametrize("exponent", [float("nan"), float("inf"), 0.0, -1.0])
def test_exponents_that_give_no_rising_edges_are_refused(exponent: float) -> None:
    with pytest.raises(InputError, match="exponent must be a finite number above 0, got"):
        PowerSplit(exponent)


def test_families_refuse_parameters_that_do_not_act_and_the_lack_of_those_that_do() -> None:
    with pytest.raises(InputError, match="stages must be at least 1, got 0"):
        Family(0)
    with pytest.raises(InputError, match="takes no split"):
        Family(1, PowerSplit(), 10, NoiseLevels())
    with pytest.raises(InputError, match="needs a split"):
        Family(2)
    with pytest.raises(InputError, match="ramp must be at least 1"):
        Family(2, PowerSplit(), 0, NoiseLevels())
    with pytest.raises(InputError, match="one for each noised stage: 2, got 3"):
        Family(3, FreeSplit((1, 1, 1)), 10, NoiseLevels())
    with pytest.raises(InputError, match="not all be 0"):
        FreeSplit((0.0, 0.0))
    with pytest.raises(InputError, match="not negative, got -1"):
        FreeSplit((1.0, -1.0))


def test_schedules_refuse_a_wrong_order() -> None:
    with pytest.raises(InputError, match=r"0\.2 follows 0\.5"):
        Schedule((Stage(0.5, 1), Stage(0.2, 1), Stage(1.0, 1)))
    with pytest.raises(InputError, match="last stage must be the observation"):
        Schedule((Stage(0.5, 1),))
    with pytest.raises(InputError, match="no stage"):
        Schedule(())
    with pytest.raises(InputError, match="at least 1, got 0"):
        Stage(1.0, 0)
    with pytest.raises(InputError, match="alpha_bar must be in"):
        Stage(1.5, 1)
