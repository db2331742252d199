"""What a sampling has to tell beside its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ddpm_studio.cli_progress import show_comparison, show_sampling
from ddpm_studio.training.events import Event, Quicker


@pytest.mark.parametrize("show", [show_sampling, show_comparison])
def test_a_person_reads_what_is_not_recorded(
    show: Callable[[Iterator[Event]], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert not show(iter([Quicker(3, "network calls are not recorded on this card: [no] graphs", False)]))
    told = capsys.readouterr()
    assert "Network calls are not recorded on this card: [no] graphs." in told.err
    assert not told.out
