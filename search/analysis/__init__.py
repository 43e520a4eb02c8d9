"""What follows from trials: fronts, hypervolume, comparisons, importance, status, forecasts."""
