"""Compression both ways: what a study's [[downlink]] may be."""

from __future__ import annotations

from ..algorithms import Algorithm
from ..compressors import Compressor
from ..routes import Route


def check_downlink(downlink: Compressor, algorithm: Algorithm, route: Route) -> None:
    """Raise ValueError, one sentence, where the root's messages cannot be compressed so."""
    if downlink.biased:
        raise ValueError(
            f"kind = {downlink.kind!r} is biased, and nobody would make up for what it leaves out; "
            f'give an unbiased one, such as kind = "quantization"'
        )
    if downlink.may_be_absent:
        raise ValueError(
            f"kind = {downlink.kind!r} is about clients that stay away, and the root never does; "
            f'give kind = "bernoulli", say'
        )
    if downlink.common:
        raise ValueError('mask = "common" is about masks of several senders, and here is one, the root; leave it out')
    if not algorithm.two_way:
        raise ValueError(
            f'is not for algorithm kind = "{algorithm.kind}", whose clients know what their own compression left out, '
            f'and not what the root\'s does; give algorithm kind = "sgd" or "control-variates", or leave it out'
        )
    if route.reaches_all_ranks:
        raise ValueError(
            f'is not for route kind = "{route.kind}", which brings the messages themselves to every rank, so that '
            f'nothing comes down; give route kind = "auto", or leave it out'
        )
    if route.downlink_bits:
        raise ValueError(
            "and route.downlink_bits exclude each other, as no w is broadcast here; "
            "leave downlink_bits out, and give the downlink value_bits"
        )
