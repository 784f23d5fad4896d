"""Base class of algorithms: the step sizes, the vector that a client sends, and the step from the mean message."""

from __future__ import annotations

import zipfile
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..component import Component, Registry
from ..compressors import Compressor
from ..engine.compilation import inlined
from ..engine.operations.algorithm import OPERATIONS

Array = NDArray[np.float64]


class Steps(NamedTuple):
    """Step sizes gamma_k = scale (k + 1)^-exponent of the rounds k = 0, 1, ...; with exponent 0 they are constant."""

    scale: float
    exponent: float = 0.0


@inlined
def step_size(steps: Steps, round: int) -> float:
    """Return gamma_k, the step size of a round."""
    if steps.exponent > 0.0:
        return steps.scale * np.float64(round + 1) ** -steps.exponent
    return steps.scale


class Algorithm(Component):
    """Step sizes, averaging and the initial iterate, which all algorithms share.

    This is the base class of all algorithms. The static methods of a subclass, which are compiled, compute the vector
    that a client compresses and the step (`mpi_fed/engine/operations/algorithm.py`).

    Parameters
    ----------
    step_size : {"constant", "horizon", "decreasing"} or float, default: "constant"
        Step sizes gamma_k. "constant" is `1/(2 (omega t + 1) R^2)`, with t the local steps and R^2 the mean of Tr H_i.
        "horizon" is `K^(-2/5)`, with K the number of rounds, and "decreasing" is `step_scale (k+1)^(-step_exponent)`. A
        number is used as it is.
    step_scale : float, default: the constant step
        Factor of decreasing steps, by default the constant step.
    step_exponent : float, default: 0.5
        Exponent of decreasing steps.
    omega : {"paper", "tight"}, default: "paper"
        Variance bound in the step size: "paper" is the usual one, "tight" the smallest one where it is known. They
        differ for quantization only.
    averaging : {"all", "tail"}, default: "all"
        Averaged iterate: "all" is the mean of w_0 .. w_{K-1}, "tail" the mean of the last of these.
    tail_fraction : float, default: 0.5
        Share of the iterates that a tail average takes.
    alpha : "default" or float, default: "default"
        Rate of the clients' memories, which only `control-variates` has. The default is `1/(2 (omega + 1))`, with the
        omega of the uplink.
    local_steps : int, default: 1
        Number t of steps of size gamma_k that a client takes between two messages, each with its own samples. It
        compresses the sum of their t gradients. With t > 1 `ridge` must be 0, and `mpi-fed predict` makes no
        prediction.
    initial : {"zeros", "normal"}, list of float or str, default: "zeros"
        Initial iterate w_0: zeros, a draw of N(0, I) by the repetition's seed, a list of d numbers, or the path of an
        .npy file with d numbers.
    ridge : float, default: 0.0
        Penalty lambda: clients compress g + lambda w. The excess risk is still that of the problem without it. With
        lambda > 0 `mpi-fed predict` makes no prediction.

    Notes
    -----
    Step sizes, with R^2 the mean of Tr H_i, K the number of rounds and t = `local_steps`:

        constant      gamma_k = 1 / (2 (omega t + 1) R^2)
        horizon       gamma_k = K^(-2/5)
        decreasing    gamma_k = step_scale (k + 1)^(-step_exponent)

    With a compressed downlink, omega is the variance bound of both compressions together (`step_omega`) in the step
    size, in the log and in predictions: `omega + 1 = (omega_up + 1) (omega_down + 1)`.

    Examples
    --------
    >>> from mpi_fed.algorithms import algorithms
    >>> algorithms["sgd"](step_size="decreasing", step_scale=0.1).steps(omega=3.0, trace=2.0, rounds=1000)
    Steps(scale=0.1, exponent=0.5)
    """

    always_updates: ClassVar[bool] = False
    """True if w moves even in a round in which no client sends a message."""
    delayed: ClassVar[bool] = False
    """True if the gradients of round k are taken at w_{k-1}, so that messages may travel while the next gradients are
    computed."""
    has_theory: ClassVar[bool] = False
    """True if the predictions hold for this class. Each class must set it, since a subclass may take other steps."""
    two_way: ClassVar[bool] = True
    """True if an unbiased compressor may compress the direction of the step on the downlink."""

    step_size: Literal["constant", "horizon", "decreasing"] | Annotated[float, Field(gt=0)] = "constant"
    step_scale: float | None = Field(default=None, gt=0)
    step_exponent: float = Field(default=0.5, ge=0, lt=1)
    omega: Literal["paper", "tight"] = "paper"
    averaging: Literal["all", "tail"] = "all"
    tail_fraction: float = Field(default=0.5, gt=0, le=1)
    alpha: Literal["default"] | Annotated[float, Field(gt=0, le=1)] = "default"
    local_steps: int = Field(default=1, ge=1, le=10**6)
    initial: Literal["zeros", "normal"] | tuple[float, ...] | str = "zeros"  # noqa: PYI051 (messages name the values)
    ridge: float = Field(default=0.0, ge=0)
    lists = frozenset({"initial"})

    def check(self, compressor: Compressor, dimension: int) -> None:
        """Raise ValueError, with one sentence, if the parameters do not fit the compressor or the dimension."""
        if self.initial != "zeros":
            self.start_vector(dimension)
        if self.local_steps > 1 and self.ridge > 0:
            raise ValueError("ridge with local_steps > 1 is not supported; give only one of them")

    def omega_of(self, compressor: Compressor, dimension: int) -> float:
        """Return the variance bound of a compressor that the step size uses: the paper's or the tight one."""
        tight = compressor.omega_tight(dimension) if self.omega == "tight" else None
        return compressor.omega_bound(dimension) if tight is None else tight

    def step_omega(self, compressor: Compressor, downlink: Compressor | None, dimension: int) -> float:
        """Return the omega that the step size uses, the variance bound of both compressions, one after the other.

            omega + 1 = (omega_up + 1) (omega_down + 1),   as E||C_down(C_up(x))||^2 <= (omega_down + 1) E||C_up(x)||^2.

        Without a compressed downlink (`downlink` is None) omega is omega_up.
        """
        up = self.omega_of(compressor, dimension)
        return up if downlink is None else (up + 1) * (self.omega_of(downlink, dimension) + 1) - 1

    def constant_step(self, omega: float, trace: float) -> float:
        """Return the constant step size; `trace` is R^2, the mean of Tr H_i."""
        return 1 / (2 * (omega * self.local_steps + 1) * trace)

    def steps(self, omega: float, trace: float, rounds: int) -> Steps:
        """Return the step sizes of a run of K = `rounds` rounds; `trace` is R^2, the mean of Tr H_i."""
        if self.step_size == "constant":
            return Steps(self.constant_step(omega, trace))
        if self.step_size == "horizon":
            return Steps(rounds**-0.4)
        if self.step_size == "decreasing":
            return Steps(self.step_scale or self.constant_step(omega, trace), self.step_exponent)
        return Steps(float(self.step_size))

    def start_vector(self, dimension: int) -> Array | None:
        """Return w_0 (shape (d,)) if it is zero or given as a list or an .npy file, or None if it is random.

        Raises ValueError, with one sentence, if w_0 is not a vector of d finite numbers.
        """
        if self.initial == "normal":
            return None
        if self.initial == "zeros":
            return np.zeros(dimension)
        try:
            start = np.load(self.initial) if isinstance(self.initial, str) else np.array(self.initial)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"initial = {self.initial!r} is not a readable .npy file ({error}); write it with numpy.save"
            ) from None
        if not isinstance(start, np.ndarray):
            raise ValueError(f"initial = {self.initial!r} holds several arrays; give an .npy file, which holds one")
        if start.shape != (dimension,) or start.dtype.kind not in "fiu" or not np.isfinite(start).all():
            raise ValueError(
                f"initial, of shape {start.shape}, must be {dimension} finite numbers, one for each dimension"
            )
        return start.astype(np.float64)

    def averaging_start(self, rounds: int) -> int:
        """Return the first k whose w_k enters the average."""
        return 0 if self.averaging == "all" else rounds - max(1, round(self.tail_fraction * rounds))

    def memory_rate(self, omega: float) -> float | None:
        """Return alpha, the rate at which clients' memories follow their messages, or None if there are no memories."""
        return None

    def client_bytes(self, dimension: int) -> int:
        """Return the memory, in bytes, that a client keeps from one round to the next."""
        return 0

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        """Return the `Kernel` tuple: the parameters and memories that the compiled operations get on a rank.

        Parameters
        ----------
        dimension : int
            d.
        omega : float
            Variance bound that the step size uses.
        steps : Steps
            Step sizes.
        hosted : int
            Number of clients on this rank.
        clients : int
            N, the number of all clients.

        Returns
        -------
        NamedTuple
            The kernel. Its arrays are zero at the start of a repetition, and checkpoints hold them.
        """
        raise NotImplementedError


def arrays_of(kernel: tuple[Any, ...], place: str = "algorithm") -> dict[str, NDArray[Any]]:
    """Return all arrays of an algorithm's kernel by name, such as "algorithm.memory".

    The arrays are zero at the start of a repetition.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, part in zip(getattr(kernel, "_fields", range(len(kernel))), kernel, strict=True):
        if isinstance(part, np.ndarray):
            arrays[f"{place}.{name}"] = part
        elif isinstance(part, tuple):
            arrays |= arrays_of(part, f"{place}.{name}")
    return arrays


algorithms: Registry[Algorithm] = Registry("algorithm", OPERATIONS)
