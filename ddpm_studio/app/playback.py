"""The diffusion-time clock: which frame of which tape is shown now. No widget in here."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QElapsedTimer, QObject, Signal, Slot

from ddpm_studio.diffusion.tape import Frame, Tape

RATE = 12.0  # frames a second at 1x: a tape of 12 to 50 frames lasts 1 to 4 s
HOLD = 9.0  # frames that x_0 stays in sight before a loop starts again
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0)
PLAYS = ("t", "training", "both")  # what Play moves: diffusion time, training time, or both


class Player(QObject):
    """Plays, pauses and scrubs a tape, which another thread may still be recording.

    While it is *following*, the newest frame is shown. A user who parks the bar at some t keeps that place:
    a new tape replaces the old one only when its frame nearest in t exists; one that was asked for is followed
    from its first frame on. Until then the old tape stays whole, so that picture, timeline and numbers always
    belong to one tape.
    """

    frame_changed = Signal()  # another frame is shown, or one more has arrived
    state_changed = Signal()  # playing, speed or loop
    tape_changed = Signal()

    def __init__(self, parent: QObject | None = None, seconds: Callable[[], float] | None = None) -> None:
        super().__init__(parent)
        self._timer = QElapsedTimer()
        self._timer.start()
        self._seconds: Callable[[], float] = seconds or self._timer_seconds
        self._polled_at = self._seconds()
        self._tape: Tape | None = None
        self._incoming: Tape | None = None
        self._count = 0
        self._place = 0.0  # of the clock, in frames; the whole part is the position
        self._playing = False
        self._following = True
        self._by_share = self._followed = False
        self._speed = 1.0
        self._loop = False
        self._plays = "t"
        self.training_runs = False  # the clock of training time plays, and has a way to go
        self.elapsed = 0.0  # seconds between the last two polls

    def _timer_seconds(self) -> float:
        return self._timer.nsecsElapsed() / 1e9

    # -- what it shows

    @property
    def tape(self) -> Tape | None:
        return self._tape

    @property
    def count(self) -> int:
        """Frames that have arrived."""
        return self._count

    @property
    def total(self) -> int:
        """Frames that the complete tape will hold."""
        return max(self._tape.total, self._count) if self._tape else 0

    @property
    def position(self) -> int:
        """Index of the frame shown; 0 without any."""
        return max(0, min(int(self._place), self._count - 1))

    @property
    def share(self) -> float:
        """How far the frame shown lies in the whole process: 0 at x_T, 1 at x_0."""
        return self.position / (self.total - 1) if self.total > 1 else 1.0

    @property
    def frame(self) -> Frame | None:
        return self._tape.frames[self.position] if self._tape and self._count else None

    @property
    def playing(self) -> bool:
        return self._playing

    @property
    def following(self) -> bool:
        """Whether the newest frame is shown as it arrives."""
        return self._following and not self._moving

    @property
    def plays(self) -> str:
        """What Play moves, one of ``PLAYS``."""
        return self._plays

    @property
    def _moving(self) -> bool:
        """Whether diffusion time plays."""
        return self._playing and self._plays != "training"

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def loop(self) -> bool:
        return self._loop

    # -- the tape

    def set_tape(self, tape: Tape | None, *, by_share: bool = False, follow: bool = False) -> None:
        """Show this tape as soon as it has the frame that belongs to the present place.

        That is the one nearest in t, or, ``by_share``, the one as far in its process. ``follow``: leave that place,
        and show what comes as it comes.
        """
        self._by_share, self._followed = by_share, follow
        if tape is None:
            self._incoming = None
            self.pause()
            self._following = True
            self._adopt(None, 0.0)
        elif tape is not self._tape:
            self._incoming = tape
            self.poll()
        else:
            self._incoming = None

    @Slot()
    def poll(self) -> None:
        """Notice frames that have arrived and move on while playing; call at 30 Hz."""
        now = self._seconds()
        self.elapsed, self._polled_at = now - self._polled_at, now
        if self._incoming is not None:
            if self._followed and self._incoming.frames:
                self.pause()
                self._following = True
            place = self._place_in(self._incoming)
            if place is not None:
                incoming, self._incoming = self._incoming, None
                part = self._place % 1 if self._moving and place == self.position else 0.0  # no step back in time
                self._adopt(incoming, place + part)
        if self._tape is None:
            return
        before = (self._count, self.position)
        self._count = len(self._tape.frames)
        if self._moving:
            self._advance(self.elapsed)
        elif self._following:
            self._place = float(max(0, self._count - 1))
        if (self._count, self.position) != before:
            self.frame_changed.emit()

    def _adopt(self, tape: Tape | None, place: float) -> None:
        changed = tape is not self._tape
        self._tape, self._place = tape, place
        self._count = len(tape.frames) if tape else 0
        if changed:
            self.tape_changed.emit()
            self.frame_changed.emit()

    def _place_in(self, tape: Tape) -> int | None:
        """Where to go on in a new tape; None while that frame has not been recorded."""
        frames = tape.frames[: len(tape.frames)]
        newest = len(frames) - 1
        shown, old = self.frame, self._tape
        if shown is None or old is None:
            return max(0, newest)
        if not frames:
            return None
        if self.following or tape.kind != old.kind:
            return newest
        if self._by_share:
            place = round(self.share * (max(tape.total, 1) - 1))
            return place if place <= newest else None
        wanted = shown.t / old.steps
        distance = [abs(frame.t / tape.steps - wanted) for frame in frames]
        nearest = distance.index(min(distance))
        certain = distance[nearest] == 0 or nearest < newest or tape.complete  # a later one could be nearer
        return nearest if certain else None

    def _advance(self, elapsed: float) -> None:
        assert self._tape is not None
        last = max(0, self._count - 1)
        self._place += elapsed * RATE * self._speed
        if self._place < last:
            return
        if not self._tape.complete:
            self._place = float(last)  # wait for the next frame
        elif self._loop:
            self._place %= last + HOLD
        else:
            self._place = float(last)
            if not self.training_runs:
                self.pause()

    # -- what the user does

    def show(self, tape: Tape, position: int) -> None:
        """Park at a frame of a complete tape, both at once."""
        self.pause()
        self._incoming = None
        self._following = position >= len(tape.frames) - 1
        if tape is self._tape:
            self._go(position)
        else:
            self._adopt(tape, float(min(max(position, 0), len(tape.frames) - 1)))

    @Slot()
    def play(self) -> None:
        """Play on; from the noise if the newest frame is shown."""
        if self._playing or self.total == 0:
            return
        self._playing = True
        self._polled_at = self._seconds()
        if self._moving:
            self._go(0 if self.position >= self._count - 1 else self.position)
        self.state_changed.emit()

    @Slot()
    def pause(self) -> None:
        if self._playing:
            self._playing = False
            self._following = self.position >= self.total - 1
            self._place = float(self.position)
            self.state_changed.emit()

    @Slot()
    def toggle(self) -> None:
        if self._playing:
            self.pause()
        else:
            self.play()

    @Slot(int)
    def set_position(self, index: int) -> None:
        """Park at a frame (the nearest that has arrived); at the last one, x_0, follow again."""
        self.pause()
        self._following = index >= self.total - 1
        self._go(index)

    def step(self, by: int) -> None:
        self.set_position(self.position + by)

    @Slot()
    def step_back(self) -> None:
        self.step(-1)

    @Slot()
    def step_forward(self) -> None:
        self.step(1)

    @Slot()
    def to_noise(self) -> None:
        self.set_position(0)

    @Slot()
    def to_image(self) -> None:
        """Go to the newest frame and follow."""
        self.set_position(max(0, self.total - 1))

    def set_speed(self, speed: float) -> None:
        """Times ``RATE``; 0.25 … 4."""
        speed = min(max(speed, SPEEDS[0]), SPEEDS[-1])
        if speed != self._speed:
            self._speed = speed
            self.state_changed.emit()

    def set_plays(self, plays: str) -> None:
        """What Play moves, one of ``PLAYS``."""
        if plays != self._plays:
            self.pause()
            self._plays = plays
            self.state_changed.emit()

    @Slot(bool)
    def set_loop(self, loop: bool) -> None:
        if loop != self._loop:
            self._loop = loop
            self.state_changed.emit()

    def _go(self, index: int) -> None:
        before = self.position
        self._place = float(max(0, min(index, self._count - 1)))
        if self.position != before:
            self.frame_changed.emit()
