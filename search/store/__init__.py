"""Contents of a run: the study, its storage and lease, trial records, paths and versions."""
