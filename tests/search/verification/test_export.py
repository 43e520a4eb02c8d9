"""A verified schedule as a file."""

import math
from pathlib import Path

import pytest
from played_verification import gains, searched, verified

from dipstage.schedules.schedule_file import read_schedule_file
from search import Run

pytestmark = pytest.mark.long


def test_an_exported_claim_has_its_endpoint_and_time_ratio(tmp_path: Path) -> None:
    verification = verified(searched(tmp_path), gains(trial_2=(0.5, -10), trial_3=(0.1, -1)))
    exported = read_schedule_file(Run.of(verification.run).export("2")).verified
    comparison = verification.against_plain("trial 2")
    assert exported is not None
    assert comparison is not None
    assert comparison.log_ratio is not None
    assert exported.endpoint == "time"
    ratio, log = exported.time_ratio, comparison.log_ratio
    assert ratio is not None
    assert ratio.mean < 1
    for value, expected in ((ratio.mean, log.mean), (ratio.low, log.low), (ratio.high, log.high)):
        assert value is not None
        assert math.log(value) == pytest.approx(expected)
