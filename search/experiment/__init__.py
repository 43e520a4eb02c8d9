"""The experiment file: its model, objectives, search space, and the pictures it names."""
