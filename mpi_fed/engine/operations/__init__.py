"""The operations of each family of components in the compiled round, and those of the downlink and of overlap."""
