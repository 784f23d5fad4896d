"""What an algorithm is: step sizes, what a client sends, what the root does with the mean of what arrives."""

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
    """gamma_k = scale (k + 1)^-exponent for round k = 0, 1, ...; exponent 0 is a constant step."""

    scale: float
    exponent: float = 0.0


@inlined
def step_size(steps, round):
    """gamma_k."""
    if steps.exponent > 0.0:
        return steps.scale * np.float64(round + 1) ** -steps.exponent
    return steps.scale


class Algorithm(Component):
    """Step sizes, averaging and the start: what every algorithm has.

    Steps: constant gamma = 1/(2 (omega+1) R^2); horizon gamma = K^(-2/5); decreasing
    gamma_k = step_scale (k+1)^(-step_exponent); or a number. omega is the paper's constant, or the tight one.
    With `local_steps` = t a client does t steps of its own between two messages (`local_steps.py`), and constant is
    1/(2 (omega t + 1) R^2): what it compresses is the sum of t gradients. Compression both ways: `step_omega`.
    """

    always_updates: ClassVar[bool] = False
    """w moves even in a round in which nobody sends."""
    delayed: ClassVar[bool] = False
    """Gradients of round k are taken at w_{k-1}, so that messages may travel while the next gradients are computed."""
    has_theory: ClassVar[bool] = False
    """Theory covers this class. Each class states it for itself: a subclass may step otherwise."""
    two_way: ClassVar[bool] = True
    """The direction of its step may be compressed again on its way down, without bias."""

    step_size: Literal["constant", "horizon", "decreasing"] | Annotated[float, Field(gt=0)] = "constant"
    step_scale: float | None = Field(None, gt=0)
    step_exponent: float = Field(0.5, ge=0, lt=1)
    omega: Literal["paper", "tight"] = "paper"
    averaging: Literal["all", "tail"] = "all"
    tail_fraction: float = Field(0.5, gt=0, le=1)
    alpha: Literal["default"] | Annotated[float, Field(gt=0, le=1)] = "default"
    local_steps: int = Field(1, ge=1, le=10**6)
    initial: Literal["zeros", "normal"] | tuple[float, ...] | str = "zeros"
    ridge: float = Field(0.0, ge=0)
    lists = frozenset({"initial"})

    def check(self, compressor: Compressor, dimension: int) -> None:
        """Raise ValueError, one sentence, where the parameters do not fit together."""
        if self.initial != "zeros":
            self.start_vector(dimension)
        if self.local_steps > 1 and self.ridge > 0:
            raise ValueError("ridge with local_steps > 1 is not defined here; give one of them")

    def omega_of(self, compressor: Compressor, dimension: int) -> float:
        """The omega in use of one compressor: the paper's constant or the tight one."""
        tight = compressor.omega_tight(dimension) if self.omega == "tight" else None
        return compressor.omega_bound(dimension) if tight is None else tight

    def step_omega(self, compressor: Compressor, downlink: Compressor | None, dimension: int) -> float:
        """The omega that enters the step size: of both compressions, one after the other,

        omega + 1 = (omega_up + 1) (omega_down + 1),   as E||C_down(C_up(x))||^2 <= (omega_down + 1) E||C_up(x)||^2.
        """
        up = self.omega_of(compressor, dimension)
        return up if downlink is None else (up + 1) * (self.omega_of(downlink, dimension) + 1) - 1

    def constant_step(self, omega: float, trace: float) -> float:
        """The constant step size; `trace` is R^2, the mean of Tr H_i."""
        return 1 / (2 * (omega * self.local_steps + 1) * trace)

    def steps(self, omega: float, trace: float, rounds: int) -> Steps:
        """The step sizes."""
        if self.step_size == "constant":
            return Steps(self.constant_step(omega, trace))
        if self.step_size == "horizon":
            return Steps(rounds**-0.4)
        if self.step_size == "decreasing":
            return Steps(self.step_scale or self.constant_step(omega, trace), self.step_exponent)
        return Steps(float(self.step_size))

    def start_vector(self, dimension: int) -> Array | None:
        """w_0 where it is given, as a list or as the path of an .npy file, or zeros; None for a random start.

        Raises ValueError, one sentence, where it is no vector of this dimension.
        """
        if self.initial == "normal":
            return None
        if self.initial == "zeros":
            return np.zeros(dimension)
        try:
            start = np.load(self.initial) if isinstance(self.initial, str) else np.array(self.initial)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"initial = {self.initial!r} is no readable .npy file ({error})") from None
        if not isinstance(start, np.ndarray):
            raise ValueError(f"initial = {self.initial!r} holds several arrays; give an .npy file, with one")
        if start.shape != (dimension,) or start.dtype.kind not in "fiu" or not np.isfinite(start).all():
            raise ValueError(
                f"initial must be {dimension} finite numbers, as the dimension is; it has shape {start.shape}"
            )
        return start.astype(np.float64)

    def averaging_start(self, rounds: int) -> int:
        """The first k whose w_k enters the average."""
        return 0 if self.averaging == "all" else rounds - max(1, round(self.tail_fraction * rounds))

    def memory_rate(self, omega: float) -> float | None:
        """alpha, the rate at which clients' memories follow what they send; None without memories."""
        return None

    def client_bytes(self, dimension: int) -> int:
        """Bytes of what a client keeps from round to round."""
        return 0

    def kernel(self, dimension: int, omega: float, steps: Steps, hosted: int, clients: int) -> NamedTuple:
        """The parameters and memories that the compiled operations get, for the `hosted` ones of N `clients`."""
        raise NotImplementedError


def arrays_of(kernel: tuple, place: str = "algorithm") -> dict[str, NDArray[Any]]:
    """All arrays of an algorithm's kernel, which a repetition begins with at zero, by their place in it."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, part in zip(getattr(kernel, "_fields", range(len(kernel))), kernel, strict=True):
        if isinstance(part, np.ndarray):
            arrays[f"{place}.{name}"] = part
        elif isinstance(part, tuple):
            arrays |= arrays_of(part, f"{place}.{name}")
    return arrays


algorithms: Registry[Algorithm] = Registry("algorithm", OPERATIONS)
