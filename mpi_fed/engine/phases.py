"""The names of the phases of a round. Importing this file does not load the compiler, so readers of logs can use it."""

PHASES = ("gradient", "encode", "wait", "uplink", "decode", "update", "downlink")
"""The phases of a round in the log."""
STEPS = (*PHASES, "downlink_encode", "downlink_decode")
"""The steps that the clock measures. The last two belong to a compressed downlink; in the log they are part of `encode`
and `decode`."""
