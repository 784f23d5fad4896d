"""What an algorithm does inside the compiled round. The first argument, its own kernel tuple, chooses the code.

outgoing(kernel, client, round, w, g)                g <- the vector that the client compresses, from its gradient
sent(kernel, client, compressor, payload, stream)    the client, after it packed a payload
update(kernel, round, total, w)                      the root: w <- the next iterate; total = mean of the messages
"""

from __future__ import annotations

from .jit import Operation


def _nothing(kernel, client, compressor, payload, stream):
    return


_outgoing, _sent, _update = Operation("outgoing"), Operation("sent", _nothing), Operation("update")
outgoing, sent, update = _outgoing.call, _sent.call, _update.call
OPERATIONS = {"outgoing": _outgoing, "sent": _sent, "update": _update}
