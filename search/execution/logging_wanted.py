"""Loggers that an experiment asks for: the packages that they need, and the runs they can log."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from dipstage.errors import InputError
from search.experiment.model import Experiment
from search.store.folders import is_remote

LOGGERS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Packages that loggers need."""


def refuse_missing_loggers(experiment: Experiment, folder: Path) -> None:
    """Raise InputError for a logger that is not installed or that cannot log this run."""
    wanted = experiment.logging
    for key, package in LOGGERS.items():
        if getattr(wanted, key) and find_spec(package) is None:
            raise InputError(f"logging.{key} needs {package}: pip install 'dipsearch[{key}]'")
    if wanted.mlflow and os.path.exists(wanted.mlflow) and not os.path.isdir(wanted.mlflow):
        raise InputError(f"logging.mlflow {wanted.mlflow} is not a folder: name one, or an address")
    if wanted.tensorboard and is_remote(folder):
        raise InputError(
            "logging.tensorboard needs a run folder on this machine, and "
            f"{folder} is on object storage: use logging.mlflow or logging.wandb"
        )
