"""Restoration tasks: what is measured of a picture, and what outputs are compared with."""
