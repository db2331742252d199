"""All that a person can do, as one list: menus, shortcuts and buttons are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication, QObject
from PySide6.QtGui import QAction, QKeySequence

from ddpm_studio.app.theme import icon, theme


@dataclass(frozen=True)
class ActionSpec:
    """One action. ``id`` is its object name, ``method`` a slot of the window or its parts; the list has menu order."""

    id: str
    menu: str
    text: str
    tip: str
    method: str = ""  # none: it is wired elsewhere (playback, walk)
    shortcut: str = ""
    icon: str = ""
    checkable: bool = False


def _(text: str) -> str:
    return str(QT_TRANSLATE_NOOP("Actions", text))


MENUS = (_("Run"), _("Edit"), _("Playback"), _("View"), _("Help"))

ACTIONS = (
    ActionSpec(
        "run.start", "Run", _("Start"), _("Start a new run with this recipe"), "on_start", "Ctrl+Return", "play"
    ),
    ActionSpec(
        "run.resume", "Run", _("Resume"), _("Go on with the run on screen"), "on_resume", "Ctrl+Shift+Return", "play"
    ),
    ActionSpec("run.pause", "Run", _("Pause"), _("Pause the training; nothing is lost"), "on_pause", "Ctrl+P", "pause"),
    ActionSpec(
        "run.stop", "Run", _("Stop"), _("Stop after this step and keep everything"), "on_stop", "Ctrl+.", "square"
    ),
    ActionSpec(
        "run.sample_now",
        "Run",
        _("Sample now"),
        _("Sample with the weights of this moment"),
        "on_sample",
        "Ctrl+G",
        "sparkles",
    ),
    ActionSpec(
        "run.compare",
        "Run",
        _("Compare…"),
        _("Sample side by side: samplers, steps, checkpoints, seeds, weights or runs"),
        "on_compare",
        "Ctrl+Shift+G",
        "layers",
    ),
    ActionSpec(
        "run.save", "Run", _("Save now"), _("Save the whole state of the training"), "on_save", "Ctrl+S", "save"
    ),
    ActionSpec(
        "run.open", "Run", _("Open run…"), _("Open the folder of a run"), "on_open_run", "Ctrl+O", "folder-open"
    ),
    ActionSpec(
        "run.save_as",
        "Run",
        _("Save run as…"),
        _("Copy the run on screen to another place"),
        "on_save_run_as",
        "Ctrl+Shift+S",
    ),
    ActionSpec(
        "run.export",
        "Run",
        _("Export run…"),
        _("Take a film, a filmstrip, the loss or a report of the run with you"),
        "on_export_run",
        "Ctrl+Shift+E",
        "download",
    ),
    ActionSpec("recipe.open", "Run", _("Open recipe…"), _("Read a recipe from a TOML file"), "on_open_recipe"),
    ActionSpec("recipe.save_as", "Run", _("Save recipe as…"), _("Write this recipe to a TOML file"), "on_save_recipe"),
    ActionSpec(
        "data.open_folder",
        "Run",
        _("Open pictures…"),
        _("Learn a folder of pictures"),
        "on_open_pictures",
        "",
        "images",
    ),
    ActionSpec(
        "data.draw",
        "Run",
        _("Draw your own data…"),
        _("Paint points in the plane and learn them"),
        "",
        "Ctrl+D",
        "pen",
    ),
    ActionSpec("app.quit", "Run", _("Quit"), _("Close the window; a running training is saved"), "on_quit", "Ctrl+Q"),
    ActionSpec(
        "edit.undo", "Edit", _("Undo"), _("Take the last edit of the recipe back"), "on_undo", "Ctrl+Z", "undo-2"
    ),
    ActionSpec("edit.redo", "Edit", _("Redo"), _("Make the edit again"), "on_redo", "Ctrl+Shift+Z", "redo-2"),
    ActionSpec(
        "edit.fork",
        "Edit",
        _("Fork from here"),
        _("A new run that begins with what this one has learnt"),
        "on_fork",
        "",
        "git-fork",
    ),
    ActionSpec(
        "playback.play", "Playback", _("Play"), _("Play diffusion time, training time, or both"), "", "Space", "play"
    ),
    ActionSpec("playback.to_noise", "Playback", _("To noise"), _("Go to the noise x_T"), "", "Home", "skip-back"),
    ActionSpec(
        "playback.step_back", "Playback", _("Step back"), _("One frame towards the noise"), "", "Left", "step-back"
    ),
    ActionSpec(
        "playback.step_forward",
        "Playback",
        _("Step forward"),
        _("One frame towards the picture"),
        "",
        "Right",
        "step-forward",
    ),
    ActionSpec("playback.to_image", "Playback", _("To picture"), _("Go to the picture x_0"), "", "End", "skip-forward"),
    ActionSpec(
        "playback.loop", "Playback", _("Loop"), _("Play again from the noise"), "", "L", "repeat", checkable=True
    ),
    ActionSpec(
        "clock.play_training",
        "Playback",
        _("Play training"),
        _("Play through the training steps, at this t"),
        "",
        "T",
        "play",
    ),
    ActionSpec(
        "clock.first", "Playback", _("First step"), _("To the first training step (Ctrl+↑)"), "", "", "skip-back"
    ),
    ActionSpec(
        "clock.earlier", "Playback", _("Earlier"), _("One recorded training step back (↑)"), "", "", "chevron-up"
    ),
    ActionSpec("clock.later", "Playback", _("Later"), _("One recorded training step on (↓)"), "", "", "chevron-down"),
    ActionSpec(
        "clock.last",
        "Playback",
        _("Newest step"),
        _("To the newest training step, and follow (Ctrl+↓)"),
        "",
        "",
        "skip-forward",
    ),
    ActionSpec(
        "playback.save_as",
        "Playback",
        _("Save pictures as…"),
        _("Save this process as a GIF, video, filmstrip, picture or array"),
        "on_save_tape",
        "Ctrl+E",
        "download",
    ),
    ActionSpec(
        "view.theme_system",
        "View",
        _("Theme of the system"),
        _("Light or dark as the system has it"),
        "on_theme_system",
        checkable=True,
    ),
    ActionSpec("view.theme_light", "View", _("Light"), _("Light colours"), "on_theme_light", "", "sun", checkable=True),
    ActionSpec("view.theme_dark", "View", _("Dark"), _("Dark colours"), "on_theme_dark", "", "moon", checkable=True),
    ActionSpec(
        "view.code_levels",
        "View",
        _("Count t from 0, as code does"),
        _("Count noise levels 0 … T−1, as the tables of code do, instead of 1 … T, as papers do"),
        "on_count_levels",
        checkable=True,
    ),
    ActionSpec(
        "view.reset_layout",
        "View",
        _("Reset layout"),
        _("Put all panels back in their places"),
        "on_reset_layout",
        "",
        "rotate-ccw",
    ),
    ActionSpec(
        "help.walk",
        "Help",
        _("Guided walk"),
        _("How diffusion works, in six steps on one picture"),
        "",
        "Shift+F1",
        "circle-help",
    ),
    ActionSpec(
        "help.about",
        "Help",
        _("About DDPM Studio"),
        _("Version, licences, where things are stored"),
        "on_about",
        "F1",
        "info",
    ),
)


def make_actions(window: QObject, *parts: QObject) -> dict[str, QAction]:
    """A QAction for each entry, by id, wired to the slot of the window or of the first of its parts that has it."""
    actions: dict[str, QAction] = {}
    for spec in ACTIONS:
        action = QAction(QCoreApplication.translate("Actions", spec.text), window)
        action.setObjectName(spec.id)
        action.setShortcut(QKeySequence(spec.shortcut))
        set_tip(action, QCoreApplication.translate("Actions", spec.tip))
        action.setCheckable(spec.checkable)
        if spec.method:
            owner = next(part for part in (window, *parts) if hasattr(part, spec.method))
            action.triggered.connect(getattr(owner, spec.method))
        actions[spec.id] = action
    set_icons(actions)
    return actions


def set_tip(action: QAction, tip: str) -> None:
    """Say what it does, and its shortcut."""
    shortcut = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    action.setToolTip(f"{tip} ({shortcut})" if shortcut else tip)


def set_icons(actions: dict[str, QAction]) -> None:
    """Draw the icons in the colours of the theme in force."""
    assert theme()
    for spec in ACTIONS:
        if spec.icon:
            actions[spec.id].setProperty("icon_name", spec.icon)  # buttons draw it themselves
            actions[spec.id].setIcon(icon(spec.icon))  # menus
