"""Run the repetitions of a study: simulation, checkpoints, and what the root writes into the log."""
