"""Verification on a trainer whose truth is known: how often it is right."""

import numpy as np
import pytest
from planted import Trainer, Truth

from search.analysis.pareto import front
from search.experiment.objectives import Objective, mean_score
from search.verification.plan import TOP, spread
from search.verification.verdicts import Word, best_word, compare

pytestmark = pytest.mark.long

RAW = Objective("raw")
REPETITIONS = 1000


@pytest.mark.parametrize("pictures", [4, 8])
@pytest.mark.parametrize(("picture_psnr_db", "picture_steps"), [(0.0, 0.0), (0.2, 40.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(
    pictures: int, picture_psnr_db: float, picture_steps: float
) -> None:
    generator = np.random.default_rng(1)
    better = Truth(26.3, 340.0, picture_psnr_db, picture_steps)
    held = np.zeros(2)
    for _ in range(REPETITIONS):
        trainer = Trainer(generator, pictures, seeds=4)
        plain = trainer.train("plain", Truth())
        [raw, _] = compare([trainer.train("staged", better)], plain, RAW)
        for i, (difference, truth) in enumerate(((raw.psnr_db, 0.3), (raw.steps, -60.0))):
            assert difference.low is not None
            assert difference.high is not None
            held[i] += difference.low <= truth <= difference.high
    assert ((held / REPETITIONS >= 0.93) & (held / REPETITIONS <= 0.97)).all(), held


def search_and_verify(generator: np.random.Generator, truth: Truth) -> Word:
    """200 schedules of one truth, the front of four replicates each, three verified on 4 × 4."""
    searched = Trainer(generator, pictures=4, seeds=1)
    scores = [
        mean_score(each.score(RAW) for each in searched.train("", truth).replicates.values())
        for _ in range(200)
    ]
    chosen = spread(front(scores), TOP)
    held_out = Trainer(generator, pictures=4, seeds=4)
    plain = held_out.train("plain", Truth())
    entries = [held_out.train(f"trial {number}", truth) for number in chosen]
    compared = [c for c in compare(entries, plain, RAW) if c.output == "raw"]
    return best_word(comparison.verdict for comparison in compared)


@pytest.mark.slow
@pytest.mark.parametrize(("picture_psnr_db", "picture_steps"), [(0.0, 0.0), (0.1, 30.0)])
def test_a_search_over_equal_schedules_ends_in_not_shown(
    picture_psnr_db: float, picture_steps: float
) -> None:
    """As good as plain DIP on the mean picture; what the search liked of them was luck."""
    generator = np.random.default_rng(2)
    equal = Truth(picture_psnr_db=picture_psnr_db, picture_steps=picture_steps)
    words = [search_and_verify(generator, equal) for _ in range(REPETITIONS)]
    assert words.count(Word.NOT_SHOWN) / len(words) >= 0.95
    assert words.count(Word.BETTER) / len(words) <= 0.05


def test_a_real_gain_in_both_is_found_to_be_better() -> None:
    generator = np.random.default_rng(3)
    better = Truth(26.5, 300.0, picture_psnr_db=0.05, picture_steps=10.0)
    words = [search_and_verify(generator, better) for _ in range(40)]
    assert words.count(Word.BETTER) / len(words) >= 0.8
