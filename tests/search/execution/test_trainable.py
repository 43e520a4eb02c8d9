"""What a worker sends of a replicate."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dipstage.images import load_picture
from dipstage.schedules import Schedule
from dipstage.settings import TrainerSettings
from dipstage.stopping import Output
from search.execution.trainable import Setting, keep_picture, train_replicate
from search.experiment.objectives import Objective

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("output", ["raw", "smoothed"])
@pytest.mark.parametrize("name", ["chelsea", "camera"])
def test_the_picture_is_the_objective_s_output_of_the_first_seed(output: Output, name: str) -> None:
    picture = load_picture(f"skimage:{name}", size=16, multiple=2)
    torch.set_num_threads(1)
    setting = Setting(
        pictures={name: picture},
        seeds=(7, 1),
        sigma_255=25,
        trainer=TrainerSettings(iterations=12, width=4, scales=1, input_depth=4),
        objective=Objective(output=output),
        cpus=1,
        device="cpu",
    )
    outcome = train_replicate(setting, f"{name}-seed7", Schedule.plain(12), None)
    [content] = keep_picture(setting, f"{name}-seed7", outcome)
    best = outcome.best_raw if output == "raw" else outcome.best_smoothed
    expected = np.rint(255 * np.clip(best, 0, 1)).transpose(1, 2, 0).squeeze()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
    assert keep_picture(setting, f"{name}-seed1", outcome) == []
