"""The experiment file: its model, objectives, search space, pictures and candidates."""
