"""What a route is: how the clients' payloads reach the root, and how the iterate comes back."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from ..component import Component, Registry
from ..compressors import Compressor
from ..wire import OPERATIONS


class Route(Component):
    """The collectives of a round. A route that cannot carry a compressor refuses it; nothing is padded silently."""

    self_check: Annotated[bool | None, AfterValidator(lambda given: given or None)] = None
    """Each message carries checksums (`self_check.py`). None for no, so that a log's identity does not depend on it."""

    def check(self, compressor: Compressor) -> None:
        """Raise ValueError, one sentence, where this route cannot carry the compressor's messages."""

    def resolve(self, compressor: Compressor) -> Route:
        """The route that is taken for this compressor: itself, but for `auto`."""
        self.check(compressor)
        return self

    def kernel(self) -> NamedTuple:
        """What the compiled exchange gets."""
        raise NotImplementedError


routes: Registry[Route] = Registry("route", OPERATIONS)
