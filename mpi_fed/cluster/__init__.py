"""Run studies on a cluster: Slurm array jobs of the missing configurations, and the state of each configuration."""
