"""Settings of the trainer: which values they take, and what they ask for."""

import re
from dataclasses import replace
from typing import Any

import pytest
from small_trainings import PICTURE, SETTINGS

from dipstage.documents.records import from_plain, to_plain
from dipstage.errors import InputError
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import FullBudget, OracleBoth, OracleDecided, OraclePeak
from dipstage.tasks.denoise import observe
from dipstage.training.outcome import Stop
from dipstage.training.trainer import fit


@pytest.mark.long
def test_the_settings_ask_for_their_own_stopping_rule() -> None:
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    eager = replace(SETTINGS, oracle_stop=True, patience=12)
    schedule = parse_preset("baseline").schedule(400)
    outcome = fit(observe(truth, 25, streams), truth, schedule, eager, streams)
    assert outcome.stop is Stop.PEAK
    assert outcome.iterations - 1 - outcome.scores("raw").steps_to_max >= 12
    assert eager.stopping("smoothed") == OraclePeak("smoothed", 12)
    assert SETTINGS.stopping("raw") == FullBudget(20)
    assert replace(eager, oracle_stop="both").stopping("raw") == OracleBoth(12)
    decided = replace(eager, oracle_stop="decided")
    assert decided.stopping("smoothed") == OracleDecided(12)
    assert decided.stopping("raw") == OraclePeak("raw", 12)


@pytest.mark.parametrize("value", [True, False, "both", "decided"])
def test_the_oracle_of_a_file_is_read_as_it_was_written(value: Any) -> None:
    settings = replace(SETTINGS, oracle_stop=value)
    assert from_plain(TrainerSettings, to_plain(settings, {}), {}) == settings


@pytest.mark.parametrize("value", ["yes", 1, "True", None])
def test_another_word_for_the_oracle_is_refused(value: Any) -> None:
    words = f"must be true or false or both or decided, got {value!r}"
    if value is None:
        words = "has no value: write one, or leave the key out"
    with pytest.raises(InputError, match=re.escape(f"oracle_stop {words}")):
        from_plain(TrainerSettings, {"oracle_stop": value}, {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("width", 0),
        ("scales", 9),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("ema", 1.0),
        ("input_noise_std", -1.0),
        ("patience", 0),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{field} must be .* got {value}"):
        replace(SETTINGS, **{field: value})  # type: ignore[arg-type]
