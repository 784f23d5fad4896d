"""Descriptions of machines: the clients, the root, and the links between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import InputError
from .units import rate_text, seconds_text


@dataclass(frozen=True)
class Machine:
    """Clients and a root, one rank a client, in one shared memory or on hosts with links."""

    name: str
    clients: int
    up: float | None = None
    """Bits a second from a client to the root; None in shared memory."""
    down: float | None = None
    """Bits a second from the root to a client; None in shared memory."""
    root: float | None = None
    """Bits a second of the root's own link, in each direction; all messages pass through this link."""
    latency: float = 0.0
    """Seconds from one host to another."""
    cores: int = 1
    """Cores of the machine in shared memory, on which clients take turns. With links, each client has a host."""
    participants: int | None = None
    """Number of clients drawn for each round; None for all."""
    burst: float = 0.0
    """Bytes that a link transmits at once after a pause."""
    homes: bool = False
    """True if clients do not forward messages, and the root is not one of the clients."""

    @property
    def is_memory(self) -> bool:
        """True if the clients share a memory."""
        return self.up is None

    @property
    def active(self) -> int:
        """The number of clients in a round."""
        return min(self.clients, self.participants or self.clients)

    def __str__(self) -> str:
        who = f"{self.clients:,} clients" + (f", {self.active:,} a round" if self.participants else "")
        if self.up is None:
            return f"{who}, one memory, {self.cores} cores"
        assert self.down is not None
        assert self.root is not None
        links = rate_text(self.up) + (f" up and {rate_text(self.down)} down" if self.up != self.down else "")
        root = "" if self.root == self.up == self.down else f", the root's link {rate_text(self.root)}"
        return f"{who}, {links}{root}, {seconds_text(self.latency)} one way"


def linked(name: str, clients: int, bits: float, latency: float) -> Machine:
    """Return a cluster whose links all have the same rate (bits a second) and latency (seconds)."""
    return Machine(name=name, clients=clients, up=bits, down=bits, root=bits, latency=latency)


def homes(name: str, clients: int, participants: int) -> Machine:
    """Return homes connected to a data centre: 10 Mbit/s up, 50 Mbit/s down, 20 ms; the root's link has 10 Gbit/s."""
    return Machine(
        name=name,
        clients=clients,
        up=10e6,
        down=50e6,
        root=10e9,
        latency=0.02,
        participants=participants,
        homes=True,
    )


PRESETS = {
    machine.name: machine
    for machine in (
        Machine("memory", 2, cores=2),
        linked("10gbit", 16, 10e9, 10e-6),
        linked("1gbit", 16, 1e9, 30e-6),
        linked("100mbit", 16, 100e6, 100e-6),
        linked("10mbit", 16, 10e6, 100e-6),
        homes("homes-100", 100, 100),
        homes("homes-10k", 10_000, 100),
        homes("homes-1m", 1_000_000, 1_000),
    )
}
"""Machines by name. Their rates, latencies and numbers of clients are assumed, not measured."""


def preset(name: str) -> Machine:
    """Return the machine of this name. Raises InputError if the name is unknown."""
    if name not in PRESETS:
        raise InputError(f"--preset {name}: unknown machine; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def check(machine: Machine) -> Machine:
    """Return the machine. Raises InputError if its participants or rates are impossible."""
    if machine.participants is not None and machine.participants > machine.clients:
        limit = f"there are {machine.clients} clients; give at most as many participants"
        raise InputError(f"--participants {machine.participants}: {limit}")
    rates = [value for value in (machine.up, machine.down, machine.root) if value is not None]
    if rates and (len(rates) < 3 or not all(0 < value < math.inf for value in rates)):
        raise InputError("a machine with links needs a bandwidth above 0; give --bandwidth 100mbit")
    return machine
