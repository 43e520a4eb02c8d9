"""The commands of dipsearch. Heavy imports wait until a command runs, so that --help is fast."""
