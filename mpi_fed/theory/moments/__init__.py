"""Second moments of gradients, and the covariances that compression adds."""
