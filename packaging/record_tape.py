"""Record the tape that plays when the window opens: python packaging/record_tape.py RUN

RUN is a trained run of the recipe fashion-mnist; the tape is DDIM's way from noise to 36 pictures.
"""

import sys
from pathlib import Path

from ddpm_studio.engine import run_sampling
from ddpm_studio.recipes.recipe import DDIM
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control, SampleRequest
from ddpm_studio.training.events import TapeFinished

OUT = Path(__file__).resolve().parent.parent / "resources" / "tapes" / "first.npz"


def main() -> None:
    request = SampleRequest(count=36, seed=0, sampler=DDIM(steps=30))
    for event in run_sampling(Run.open(Path(sys.argv[1])), Control(), request, keep=False):
        if isinstance(event, TapeFinished):
            OUT.parent.mkdir(exist_ok=True)
            event.tape.save(OUT)
            print(f"{OUT}: {len(event.tape.frames)} frames, {OUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
