"""``ddpm-studio bench`` as a person types it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.report import SECTIONS, Loops, Quality, Report
from ddpm_studio.cli import INTERRUPTED, main


def test_json_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "report.json"
    assert main(["bench", "machine", "--quick", "--json", "--out", str(kept)]) == 0
    found = Report.parse(capsys.readouterr().out)
    assert found.machine is not None
    assert found.quick
    assert found.micro is None
    assert Report.parse(kept.read_text(encoding="utf-8")) == found


def test_a_table_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "machine"]) == 0
    out = capsys.readouterr().out
    assert "processor" in out
    assert "torch" in out


def test_wrong_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "nothing"]) == 2
    assert "nothing is none of machine, micro" in " ".join(capsys.readouterr().err.split())
    assert main(["bench", "machine", "--out", str(tmp_path / "gone" / "a.json")]) == 2
    assert main(["bench", "samplers", "--quick", "--run", str(tmp_path)]) == 1


def test_a_section_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(effort: Effort) -> Iterator[Loops]:
        yield Loops("half of it", 1)
        raise RuntimeError("CUDA out of memory.\nand more")

    def whole(effort: Effort) -> Iterator[Quality]:
        yield Quality(500, 0.25)

    monkeypatch.setitem(SECTIONS, "loops", broken)
    monkeypatch.setitem(SECTIONS, "quality", whole)
    assert main(["bench", "loops", "quality", "--json"]) == 1
    found = Report.parse(capsys.readouterr().out)
    assert found.failed == {"loops": "CUDA out of memory."}
    assert found.loops == Loops("half of it", 1)
    assert found.quality == Quality(500, 0.25)


def test_ctrl_c_prints_what_there_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def half(effort: Effort) -> Iterator[Loops]:
        yield Loops("as far as it came", 1)
        signal.raise_signal(signal.SIGINT)
        effort.at(0.5, "more")

    monkeypatch.setitem(SECTIONS, "loops", half)
    assert main(["bench", "loops", "quality", "--quick"]) == INTERRUPTED
    out = capsys.readouterr().out
    assert "as far as it came" in out
    assert "Time to quality" not in out
