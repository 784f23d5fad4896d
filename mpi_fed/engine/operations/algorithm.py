"""What an algorithm does inside the compiled round. The first argument, its own kernel tuple, chooses the code.

outgoing(kernel, client, round, w, g)                g <- the vector that the client compresses, from its gradient
sent(kernel, client, compressor, payload, stream)    the client, after it packed a payload
direction(kernel, round, total)                      the root: total, the mean of the messages, <- what the update
                                                     takes, and what a compressed downlink compresses
update(kernel, round, total, w)                      the root: w <- the next iterate
"""

from __future__ import annotations

from ..compilation import Operation


def _nothing(kernel, client, compressor, payload, stream):
    return


def _as_it_is(kernel, round, total):
    return


_outgoing, _sent, _update = Operation("outgoing"), Operation("sent", _nothing), Operation("update")
_direction = Operation("direction", _as_it_is)
outgoing, sent, direction, update = _outgoing.call, _sent.call, _direction.call, _update.call
OPERATIONS = {"outgoing": _outgoing, "sent": _sent, "direction": _direction, "update": _update}
