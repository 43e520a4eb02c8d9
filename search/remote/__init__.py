"""Searches on a remote Ray cluster: submit them as jobs, follow them and fetch their runs."""
