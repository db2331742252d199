"""Keeps what watching costs (previews, probes) below a share of the training time."""

from __future__ import annotations


class Budget:
    """Allows a job when its cost so far fits ``share`` of the training time plus an early ``burst``.

    Early on everything changes fast, so jobs may come every ``gap`` seconds; later their distance grows with
    the time trained. All times are in seconds.
    """

    def __init__(self, share: float, burst: float, gap: float = 0.4) -> None:
        self.share, self.burst, self.gap = share, burst, gap
        self.spent = 0.0
        self.cost = 0.0  # of the last job, 0 before it: the best guess for the next
        self._next = 0.0

    def due(self, trained: float) -> bool:
        """Whether a job may run now, after ``trained`` seconds of training."""
        if self.share <= 0 or trained < self._next:
            return False
        return self.spent + self.cost <= self.burst + self.share * trained

    def pay(self, cost: float, trained: float) -> None:
        """A job took ``cost`` seconds."""
        self.spent += cost
        self.cost = cost
        self._next = trained + max(self.gap, 0.1 * trained)
