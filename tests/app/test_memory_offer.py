"""A batch that does not fit into memory: the banner offers a smaller one."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from ddpm_studio.app.banner import Banner
from ddpm_studio.app.offers import Offers
from ddpm_studio.app.widgets import PushButton
from ddpm_studio.training.events import MemoryFull


@pytest.mark.parametrize(("step", "button"), [(0, "Start with a batch of 128"), (40, "Go on with a batch of 128")])
def test_the_button_halves_the_batch_and_goes_on(step: int, button: str, qtbot: QtBot) -> None:
    banner, parent = Banner(), QObject()
    qtbot.addWidget(banner)
    files: Any = None
    offers = Offers(banner, files, parent)
    told: list[Any] = []
    offers.settings_wanted.connect(told.append)
    offers.start_wanted.connect(lambda: told.append("start"))
    offers.resume_wanted.connect(lambda: told.append("resume"))
    offers.full(MemoryFull(step, 256, 128))
    assert not banner.isVisible(), "the engine is still at it"
    offers.on_idle()
    assert "with a batch of 256; 128 may" in banner.sentence.text()
    (smaller,) = banner.findChildren(PushButton, "banner.smaller")
    assert smaller.text() == button
    smaller.click()
    assert told == [{"training.batch": 128}, "resume" if step else "start"]
    banner.action_chosen.emit("smaller")
    assert len(told) == 2, "once"


def test_one_item_has_no_half(qtbot: QtBot) -> None:
    banner, parent = Banner(), QObject()
    qtbot.addWidget(banner)
    files: Any = None
    offers = Offers(banner, files, parent)
    offers.full(MemoryFull(0, 1, 0))
    offers.on_idle()
    assert "smaller network" in banner.sentence.text()
    assert not banner.findChildren(PushButton, "banner.smaller")
