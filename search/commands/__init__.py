"""The commands of dipsearch; each file imports nothing heavy until a command runs."""
