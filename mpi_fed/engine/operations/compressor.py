"""What a compressor does inside the compiled round. The first argument, its own kernel tuple, chooses the code.

encode(kernel, x, payload, stream)              write C(x) into the byte buffer; the bytes written; negated
                                                where a number overflowed the wire's floats
decode(kernel, payload, weight, out, stream)    out += weight C(x), from exactly the bytes sent and the shared stream
length(kernel, stream)                          bytes of this message as the shared stream tells, or UNKNOWN;
                                                asked only where lengths vary
information_bits(kernel, size)                  bits of a message of `size` bytes before rounding to bytes; likewise
trailer(kernel)                                 bytes at a message's end that are not the compressor's (self_check.py)
participants(kernel, seed, round, n, out)       the clients that take part, ascending, into out; their number
"""

from __future__ import annotations

from ..compilation import Operation

UNKNOWN = -1
"""A length that only the sender knows; the route then exchanges counts."""


def _whole_bytes(kernel, size):
    return 8 * size


def _everyone(kernel, seed, round, n, out):
    for i in range(n):
        out[i] = i
    return n


def _known_to_the_sender(kernel, stream):
    return UNKNOWN


def _nothing(kernel):
    return 0


_encode, _decode, _length = Operation("encode"), Operation("decode"), Operation("length", _known_to_the_sender)
_information_bits = Operation("information_bits", _whole_bytes)
_participants = Operation("participants", _everyone)
_trailer = Operation("trailer", _nothing)

encode, decode, length = _encode.call, _decode.call, _length.call
information_bits, participants, trailer = _information_bits.call, _participants.call, _trailer.call

OPERATIONS = {
    "encode": _encode,
    "decode": _decode,
    "length": _length,
    "information_bits": _information_bits,
    "participants": _participants,
    "trailer": _trailer,
}
