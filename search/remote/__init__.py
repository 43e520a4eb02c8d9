"""Searches on a remote Ray cluster: submit them as jobs, follow them and fetch their runs."""

CLUSTER_VARIABLE = "DIPSEARCH_ADDRESS"
"""Environment variable that names the cluster unless --address does."""
