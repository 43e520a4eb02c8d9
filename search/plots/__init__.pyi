from .attainment import plot_attainment as plot_attainment
from .curves import plot_curves as plot_curves
from .front import plot_front as plot_front
from .importance import plot_importance as plot_importance
from .schedules import plot_schedules as plot_schedules
from .style import Plot as Plot
