"""Descriptions of a training: schedules and their files, recipe, settings, stopping rules."""
