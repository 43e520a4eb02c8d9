from .api import Run as Run
from .api import launch as launch
from .api import resume as resume
from .experiment.model import Experiment as Experiment
from .experiment.reading import load_experiment as load_experiment
