"""The limit as the step size vanishes: C_ania at w*, its trace and its weights."""
