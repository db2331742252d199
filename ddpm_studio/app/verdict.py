"""What is wrong with the points at the end of a tape, and why: one sentence, beside histogram and comparison."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from ddpm_studio.app.mode_facts import ModeFacts
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import Tape

LOST = 0.05  # of the points outside: worth a sentence


def _tr(text: str) -> str:
    return QCoreApplication.translate("Verdict", text)


def verdict(tape: Tape, mixture: Mixture, *, lost: float, blind: bool) -> str:
    """The sentence on a complete tape of points; "" if nothing is wrong.

    ``lost``: the part of its points that lies outside of what is shown. ``blind``: whether the network that moved
    them does not see the noise level.
    """
    facts = ModeFacts.of(tape.frames[-1].x, mixture)
    plain = tape.sampler == "langevin-plain"
    wrong = facts.wrong_mode(tape.count) if plain else None
    if plain and lost > LOST:
        return _tr(
            "{lost} of the points ran far away from all data: at one low noise level there are none out there to "
            "learn a score from."
        ).format(lost=percent(lost))
    if wrong is not None:
        start, end, data = mixture.shares(tape.frames[0].x)[wrong], facts.shares[wrong], mixture.weights[wrong]
        what = _tr(
            "{end} of the points ended nearest to the {mode} mode, where {start} began and {data} of the data are:"
        ).format(mode=mode_name(mixture, wrong), start=percent(start), end=percent(end), data=percent(data))
        stayed = abs(end - start) < abs(end - data)
        why = (
            _tr("shares follow the start, as Langevin moves at one noise level hardly ever cross empty space.")
            if stayed
            else _tr("at one low noise level there are no data between the modes to learn a score from.")
        )
        return f"{what} {why}"
    if blind and facts.narrow:
        return _tr(
            "The samples' spread of {spread:.3f} is only {part} of the data's {data:.3f}, because this network "
            "does not see the noise level: it learns one pull for all levels, which is too strong where the noise "
            "is weak."
        ).format(spread=facts.spread, part=percent(facts.spread / facts.data_spread), data=facts.data_spread)
    return ""


def mode_name(mixture: Mixture, k: int) -> str:
    """Of two modes "left" or "right", else where it lies."""
    if len(mixture.means) == 2:
        other = mixture.means[1 - k]
        return _tr("left") if mixture.means[k][0] < other[0] else _tr("right")
    x, y = mixture.means[k]
    return f"({x:.1f}, {y:.1f})".replace("-", "−")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
