"""Keeps what watching costs (previews, probes) below a share of the training time."""

from __future__ import annotations

from collections import deque
from statistics import median_low

RECENT = 5  # jobs that say what is usual
EARLY = 0.2  # of the time trained
DEAR = 3.0  # times the usual: what a job takes beyond that, the machine took


class Budget:
    """Allows a job when its cost so far fits ``share`` of the training time plus an early ``burst``.

    Early on everything changes fast, so jobs may come every ``gap`` seconds; later their distance grows with
    the time trained. On a slow or busy machine one comes whenever the time trained has doubled, if it takes at most
    ``EARLY`` of that time: these are few, so they are not charged, and the beginning is seen. A job that the machine
    stalled is charged ``DEAR`` times what is usual, or it would silence the next ones for a minute; jobs that stay
    dear soon are the usual ones, and charged in full. All times are in seconds.
    """

    def __init__(self, share: float, burst: float, gap: float = 0.4) -> None:
        self.share, self.burst, self.gap = share, burst, gap
        self.cost = 0.0  # what a job usually takes, the best guess for the next; 0 before the first
        self.spent = 0.0  # what all jobs so far are charged
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._settled = 0.0  # charged for those before them
        self._last = self._next = 0.0

    def due(self, trained: float) -> bool:
        """Whether a job may run now, after ``trained`` seconds of training."""
        if self.share <= 0 or trained < self._next:
            return False
        return self._has_room(trained) or (trained >= 2 * self._last and self.cost <= EARLY * trained)

    def _has_room(self, trained: float) -> bool:
        return self.spent + self.cost <= self.burst + self.share * trained

    def pay(self, cost: float, trained: float) -> None:
        """A job took ``cost`` seconds."""
        if self._has_room(trained):
            self._charge(cost)
        else:
            self.cost = min(self.cost, cost)
        self._last, self._next = trained, trained + max(self.gap, 0.1 * trained)

    def _charge(self, cost: float) -> None:
        if len(self._recent) == RECENT:
            self._settled += min(self._recent[0], DEAR * self.cost)
        self._recent.append(cost)
        self.cost = median_low(self._recent)
        self.spent = self._settled + sum(min(recent, DEAR * self.cost) for recent in self._recent)
