"""What tests share: commands, processes, worlds, logs made up, plain simulations."""
