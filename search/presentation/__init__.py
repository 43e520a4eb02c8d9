"""Rows and words that every table, page and file shows of a run."""
