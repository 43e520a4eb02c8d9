"""Analysis of trials: fronts, hypervolume, comparisons, importance, status, forecasts."""
