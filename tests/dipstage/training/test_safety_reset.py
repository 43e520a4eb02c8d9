"""The safety reset, with a network that is spoiled at a chosen iteration."""

import pytest
import torch
from small_trainings import PICTURE, SETTINGS, run

from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.schedule import Schedule, Stage
from dipstage.schedules.stopping import FullBudget
from dipstage.tasks.denoise import observe
from dipstage.training.metrics import psnr_db
from dipstage.training.network import SkipNetwork
from dipstage.training.trainer import Job, _Run


class SpoiledNetwork(SkipNetwork):
    """Returns nonsense in forward pass number `at`, as if an update had gone wrong."""

    at = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        self.passes = getattr(self, "passes", -1) + 1
        output = super().forward(x)
        return output * 0 + (output > output.mean()) if self.passes == self.at else output


@pytest.mark.long
@pytest.mark.parametrize(("at", "resets"), [(95, 1), (30, 0)])
def test_the_safety_reset_answers_a_sudden_drop_but_no_stage_switch(
    monkeypatch: pytest.MonkeyPatch, at: int, resets: int
) -> None:
    """A drop within the last stage is a reset; the same drop at a switch (iteration 30) is none."""
    monkeypatch.setattr(SpoiledNetwork, "at", at)
    monkeypatch.setattr("dipstage.training.trainer.SkipNetwork", SpoiledNetwork)
    schedule = Schedule((Stage(0.9999, 30), Stage(1.0, 70)))
    outcome = run(schedule)
    losses = psnr_db(torch.from_numpy(outcome.trace.loss))
    assert float(losses[at - 1] - losses[at]) > 5
    assert outcome.resets == resets


def test_the_safety_reset_puts_the_weights_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """With updates held still after iteration 5, a drop leaves the weights of iteration 4."""
    monkeypatch.setattr(SpoiledNetwork, "at", 5)
    monkeypatch.setattr("dipstage.training.trainer.SkipNetwork", SpoiledNetwork)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    schedule = parse_preset("baseline").schedule(10)
    job = Job(observe(truth, 25, streams), truth, schedule, SETTINGS, streams, FullBudget())
    state = _Run(job, torch.device("cpu"), graphs=True)
    seen = []
    for iteration in range(6):
        seen.append(state.weights.detach().clone())
        if iteration == 5:
            monkeypatch.setattr(state.optimiser, "step", lambda: None)
        state.iterate()
    assert int(state.safety.resets) == 1
    assert not torch.equal(seen[5], seen[4])
    assert torch.equal(state.weights.detach(), seen[4])
    layers = [p for scale in state.network.scales() for p in scale.own_parameters()]
    layers += state.network.head.parameters()
    held = torch.cat([state.views.ordered(p).flatten() for p in layers])
    assert torch.equal(held, seen[4])
