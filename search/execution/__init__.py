"""Running trials: the driver, the ledger of trials, samplers, and Ray Tune."""
