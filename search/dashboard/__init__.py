"""A read-only copy of a study in optuna-dashboard."""
