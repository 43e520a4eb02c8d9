"""Training on one picture, its scores and what it needs."""
