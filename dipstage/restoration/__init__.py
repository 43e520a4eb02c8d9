"""Restoring a photograph."""
