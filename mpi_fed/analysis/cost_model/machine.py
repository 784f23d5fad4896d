"""Machines: where clients and root are, and what lies between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import InputError
from .units import rate_text, seconds_text


@dataclass(frozen=True)
class Machine:
    """Clients around a root, one rank each, in one memory or behind links."""

    name: str
    clients: int
    up: float | None = None
    """Bits a second from a client to the root; None where all share a memory."""
    down: float | None = None
    root: float | None = None
    """Of both ways of the root's own link, through which everything goes."""
    latency: float = 0.0
    """Seconds of one way."""
    cores: int = 1
    """Of the one machine whose memory is shared: its clients take turns on them. Behind links each has its own."""
    participants: int | None = None
    """Clients drawn anew for each round; None for all."""
    burst: float = 0.0
    """Bytes that a link lets through at once."""
    homes: bool = False
    """No client passes anything on, and the root is none of them."""

    @property
    def is_memory(self) -> bool:
        return self.up is None

    @property
    def active(self) -> int:
        """Clients of a round."""
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
    """Hosts of a cluster, all links alike."""
    return Machine(name=name, clients=clients, up=bits, down=bits, root=bits, latency=latency)


def homes(name: str, clients: int, participants: int) -> Machine:
    """Homes around a data centre: 10 Mbit/s up, 50 Mbit/s down, 20 ms; the root's link has 10 Gbit/s."""
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
"""Rates, latencies and numbers of clients are taken for granted, not measured."""


def preset(name: str) -> Machine:
    """The machine of this name. Raises InputError."""
    if name not in PRESETS:
        raise InputError(f"--preset {name}: no such machine; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def check(machine: Machine) -> Machine:
    """The machine, if it can be. Raises InputError."""
    if machine.participants is not None and machine.participants > machine.clients:
        there = f"there are {machine.clients} clients; give as many or fewer"
        raise InputError(f"--participants {machine.participants}: {there}")
    rates = [value for value in (machine.up, machine.down, machine.root) if value is not None]
    if rates and (len(rates) < 3 or not all(0 < value < math.inf for value in rates)):
        raise InputError("a machine with links needs a bandwidth above 0; give --bandwidth 100mbit")
    return machine
