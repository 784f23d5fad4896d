"""What an algorithm does inside the compiled round. The first argument, its own kernel tuple, chooses the code.

local_gradient(kernel, problem, jobs, job, seed, round, w, g)    g <- what a client finds in its data around w; where an
                                                     algorithm says nothing, one stochastic gradient at w
outgoing(kernel, client, round, w, g)                g <- the vector that the client compresses
sent(kernel, client, compressor, payload, stream)    the client, after it packed a payload
update(kernel, round, total, w)                      the root: w <- the next iterate; total = mean of the messages
"""

from __future__ import annotations

from .jit import Operation
from .sampling import gradient


def _one_gradient(kernel, problem, jobs, job, seed, round, w, g):
    gradient(problem, jobs, job, seed, w, g)


def _nothing(kernel, client, compressor, payload, stream):
    return


_local_gradient, _outgoing = Operation("local_gradient", _one_gradient), Operation("outgoing")
_sent, _update = Operation("sent", _nothing), Operation("update")
local_gradient, outgoing, sent, update = _local_gradient.call, _outgoing.call, _sent.call, _update.call
OPERATIONS = {"local_gradient": _local_gradient, "outgoing": _outgoing, "sent": _sent, "update": _update}
