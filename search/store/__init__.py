"""Contents of a run: the study, its storage and lease, trial records, paths and versions."""

STORAGE_VARIABLE = "DIPSEARCH_STORAGE"
"""Environment variable that names the study's database unless --storage does."""
