"""What a run holds: the study, its storage and lease, trial records, paths and versions."""
