"""Held-out verification: its plan, its runs, the statistics and the verdicts."""
