"""``--smoke-test``: the real window trains 3 steps, samples, saves, reopens the run and quits."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

LIMIT_SECONDS = 120.0


def smoke_test(for_qt: list[str]) -> int:
    """Print one JSON line; 0 if every stage was reached, else 1."""
    with tempfile.TemporaryDirectory(prefix="ddpm-studio-smoke-") as home:
        os.environ["DDPM_STUDIO_HOME"] = home
        os.environ["DDPM_STUDIO_NO_DIALOGS"] = "1"
        from PySide6.QtCore import QTimer

        from ddpm_studio.app.main import Application

        application = Application(for_qt)
        smoke = _Smoke(application, Path(home))
        QTimer.singleShot(0, application.window, smoke.tick)
        application.exec()
        print(json.dumps(smoke.report))  # noqa: T201
        sys.stdout.flush()
        return 0 if smoke.report["ok"] else 1


class _Smoke:
    """Walks from stage to stage as the window gets there; looks every 50 ms."""

    def __init__(self, application: object, home: Path) -> None:
        self._application, self._home = application, home
        self._start = time.monotonic()
        self._stages = [self._train, self._trained, self._sampled, self._reopened]
        self.report: dict[str, object] = {"ok": False, "stage": "open", "error": ""}

    def tick(self) -> None:
        from PySide6.QtCore import QTimer

        window = self._application.window  # type: ignore[attr-defined]
        self.report["seconds"] = round(time.monotonic() - self._start, 2)
        if window.failures:
            self.report["error"] = window.failures[0]
        elif time.monotonic() - self._start > LIMIT_SECONDS:
            self.report["error"] = "it took too long"
        elif not self._stages:
            self.report |= {"ok": True, "stage": "done"}
        else:
            if self._stages[0](window):
                self.report["stage"] = self._stages.pop(0).__name__.strip("_")
            QTimer.singleShot(50, window, self.tick)
            return
        window.close()

    def _train(self, window: object) -> bool:
        from ddpm_studio.recipes import find

        if not window.controller.is_ready or window.controller.busy:  # type: ignore[attr-defined]
            return False
        small = {"training.steps": 3, "training.batch": 64, "preview.count": 4, "preview.steps": 2}
        window.start(find("two-gaussians").with_settings(small))  # type: ignore[attr-defined]
        return True

    def _trained(self, window: object) -> bool:
        if window.controller.busy:  # type: ignore[attr-defined]
            return False
        window.actions_by_id["run.sample_now"].trigger()  # type: ignore[attr-defined]
        return True

    def _sampled(self, window: object) -> bool:
        tape = window.view.player.tape  # type: ignore[attr-defined]
        if window.controller.busy or tape is None or tape.count < 1000:  # type: ignore[attr-defined]
            return False
        self.report["steps"] = len(window.controller.channels.batch)  # type: ignore[attr-defined]
        window.open_run(window.run.path)  # type: ignore[attr-defined]
        return True

    def _reopened(self, window: object) -> bool:
        return not window.controller.busy and len(window.controller.channels.batch) == 3  # type: ignore[attr-defined]
