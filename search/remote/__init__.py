"""Searches on a remote Ray cluster: submission, jobs, and fetching a run."""
