"""Rules for [[downlink]]: which compressors, algorithms and routes allow the root to compress its messages."""

from __future__ import annotations

from ..algorithms import Algorithm
from ..compressors import Compressor
from ..routes import Route


def check_downlink(downlink: Compressor, algorithm: Algorithm, route: Route) -> None:
    """Raise ValueError, with one sentence, if the root cannot compress its messages with these components."""
    if downlink.biased:
        raise ValueError(
            f"kind = {downlink.kind!r} is biased, and the root has no error feedback to correct the bias; "
            f'give an unbiased compressor, such as kind = "quantization"'
        )
    if downlink.may_be_absent:
        raise ValueError(
            f"kind = {downlink.kind!r} omits whole messages, but the root must send one in every round; "
            f'give another kind, such as "bernoulli"'
        )
    if downlink.common:
        raise ValueError(
            'mask = "common" makes all senders draw the same mask, but the root is the only sender; leave it out'
        )
    if not algorithm.two_way:
        raise ValueError(
            f'cannot be used with algorithm kind = "{algorithm.kind}", whose clients correct the error of their own '
            f"compression but do not know the root's; "
            f'give algorithm kind = "sgd" or "control-variates", or remove [[downlink]]'
        )
    if route.reaches_all_ranks:
        raise ValueError(
            f'cannot be used with route kind = "{route.kind}", which sends the clients\' messages to every rank and '
            f'has no downlink; give route kind = "auto", or remove [[downlink]]'
        )
    if route.downlink_bits:
        raise ValueError(
            "cannot be used with route.downlink_bits, since the iterate w is not broadcast; "
            "remove downlink_bits, and set value_bits of the downlink"
        )
