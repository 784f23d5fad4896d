"""The names of a round's phases. Loads no compiler, so that readers of logs can import it."""

PHASES = ("gradient", "encode", "wait", "uplink", "decode", "update", "downlink")
"""The phases of a round, as the log has them."""
STEPS = (*PHASES, "downlink_encode", "downlink_decode")
"""What the clock tells apart: of a compressed downlink, the log has packing in `encode` and unpacking in `decode`."""
