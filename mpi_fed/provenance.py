"""Stub until the real one."""
def collect(world): return {}
