"""``python -m ddpm_studio``: a command if one is named, else the window."""

from __future__ import annotations

import sys


def main() -> int:
    """Decide between the command line and the window without importing either's heavy parts."""
    from multiprocessing import freeze_support

    from ddpm_studio.heap import keep_memory

    freeze_support()
    keep_memory()
    arguments = sys.argv[1:]
    commands = ("recipes", "train", "sample", "grid", "info", "evaluate", "export", "bench")
    asked = [argument for argument in arguments if argument in ("--version", "--help", "-h")]
    if asked or (arguments and arguments[0] in commands):
        from ddpm_studio.cli import main as command_line

        return command_line(arguments if arguments[0] in commands else asked[:1])
    from ddpm_studio.app.main import main as window

    return window(arguments)


if __name__ == "__main__":
    sys.exit(main())
