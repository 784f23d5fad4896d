"""Study files: TOML to checked configurations, and the plan of a run."""
