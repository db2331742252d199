"""What is to be shown leaves a card beside its computing, which never waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = list[NDArray[Any] | None]


class Leaving:
    """Copies tensors of ``device`` to arrays of the computer's memory.

    Attributes:
        ahead: how many copies may be under way while the next state is computed: none where computing is done at once.
    """

    def __init__(self, device: torch.device | str) -> None:
        card = torch.device(device).type == "cuda"
        self.ahead = 1 if card else 0
        self._aside = torch.cuda.Stream(device) if card else None  # type: ignore[no-untyped-call]

    def __call__(self, tensors: Sequence[Tensor | None]) -> Callable[[], Arrays]:
        """Send them off; what is returned waits for these alone, and gives them as new arrays."""
        if self._aside is None:
            return lambda: [None if each is None else np.array(each.numpy()) for each in tensors]
        whole = [None if each is None else each.contiguous() for each in tensors]
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            there = [None if each is None else self._send(each) for each in whole]
            sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            sent.record()

        def arrived() -> Arrays:
            sent.synchronize()
            # Not the pinned memory itself: there is little of it, and it serves the next ones.
            return [None if each is None else np.array(each.numpy()) for each in there]

        return arrived

    def _send(self, tensor: Tensor) -> Tensor:
        there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        there.copy_(tensor, non_blocking=True)
        assert self._aside is not None
        tensor.record_stream(self._aside)  # its memory is not given away before
        return there
