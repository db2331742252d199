"""What the open window costs, and how late it is while a recipe of your choice trains; the smallest and the largest
default recipe are in ``ddpm-studio bench window``.

    python tests/benchmarks/window.py [recipe] [seconds]
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.window import window


def main() -> None:
    recipe = sys.argv[1] if len(sys.argv) > 1 else "fashion-mnist"
    for result in window(Effort(seconds=float(sys.argv[2]) if len(sys.argv) > 2 else 15.0), [recipe]):
        for watched in result.recipes:
            for name, value in asdict(watched).items():
                print(f"{name:14} {value if isinstance(value, str) else format(value, '.3f')}")


if __name__ == "__main__":
    main()
