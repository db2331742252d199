"""Train the classifier that distances are measured with: python packaging/train_classifier.py

It learns two things at once: the ten classes of the built-in Fashion-MNIST pictures (the part that recipes learn from;
the held-out part stays out), and to tell digits and letters, drawn with the shipped fonts and bent at random, so that
it sees strokes as well as cloth. Some minutes on one core, from a fixed seed. Writes resources/classifier/small.npz
and prints its hash, which belongs into ddpm_studio/evaluation/features.py: distances measured with other weights
cannot be compared.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ddpm_studio.data import open_dataset
from ddpm_studio.evaluation.features import CLASSES, GLYPHS, SIDE, Classifier, load, to_input
from ddpm_studio.paths import resource

OUT = Path(__file__).resolve().parent.parent / "resources" / "classifier" / "small.npz"
EPOCHS, BATCH, RATE = 12, 64, 4e-3
CLOTHES = CLASSES - len(GLYPHS)
CANVAS = 56  # pixels of a glyph before it is bent


def alphabet() -> Tensor:
    """Every glyph in every weight, float32 (weights, glyphs, CANVAS, CANVAS), 0 … 1."""
    sheets = []
    for weight in ("Regular", "Medium", "SemiBold"):
        font = ImageFont.truetype(str(resource("fonts", f"Inter-{weight}.ttf")), 46)
        sheet = []
        for glyph in GLYPHS:
            image = Image.new("L", (CANVAS, CANVAS))
            ImageDraw.Draw(image).text((CANVAS / 2, CANVAS / 2), glyph, 255, font, anchor="mm")
            sheet.append(np.asarray(image, np.float32) / 255)
        sheets.append(np.stack(sheet))
    return torch.tensor(np.stack(sheets))


def bent(glyphs: Tensor) -> Tensor:
    """(N, 1, CANVAS, CANVAS) → (N, 1, 28, 28) in -1 … 1: turned, slanted, stretched, warped, thinner or bolder."""
    n = len(glyphs)
    turn, slant = 0.25 * torch.randn(2, n)
    wide, high = 0.95 + 0.5 * torch.rand(2, n)
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros(n)
    rows = (wide * cos, wide * (slant * cos - sin), zero, high * sin, high * (cos + slant * sin), zero)
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, SIDE, SIDE], align_corners=False)
    warp = F.interpolate(0.12 * torch.randn(n, 2, 4, 4), (SIDE, SIDE), mode="bicubic", align_corners=True)
    bold = F.avg_pool2d(glyphs, 5, 1, 2)
    x = F.grid_sample(bold, grid + warp.permute(0, 2, 3, 1), align_corners=False)
    return (6 * (x - 0.2 - 0.45 * torch.rand(n, 1, 1, 1))).clamp(-1, 1)


def shifted(x: Tensor) -> Tensor:
    """Mirrored or not, and moved by up to 2 pixels: other pictures are not so neatly placed."""
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
    down, right = torch.randint(0, 5, (2,)).tolist()
    return F.pad(x, (2, 2, 2, 2), value=-1.0)[..., down : down + SIDE, right : right + SIDE]


def some_glyphs(drawn: Tensor, count: int) -> tuple[Tensor, Tensor]:
    weight, glyph = torch.randint(len(drawn), (count,)), torch.randint(len(GLYPHS), (count,))
    return bent(drawn[weight, glyph].unsqueeze(1)), glyph + CLOTHES


@torch.no_grad()
def accuracy(network: Classifier, x: Tensor, y: Tensor) -> float:
    return 100 * float((network(x).argmax(1) == y).float().mean())


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dataset = open_dataset("fashion-mnist")
    assert dataset.labels is not None
    assert dataset.held_out_labels is not None
    x, y, drawn = to_input(dataset.train), torch.tensor(dataset.labels), alphabet()
    network = Classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * (len(x) // BATCH))
    for epoch in range(EPOCHS):
        total = 0.0
        for index in torch.randperm(len(x))[: len(x) // BATCH * BATCH].view(-1, BATCH):
            glyphs, which = some_glyphs(drawn, BATCH)
            out = network(torch.cat((shifted(x[index]), glyphs)).to(memory_format=torch.channels_last))
            loss = F.cross_entropy(out, torch.cat((y[index], which)), label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            cycle.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total * BATCH / len(x):.3f}", flush=True)

    arrays = {name: value.contiguous().numpy().astype(np.float16) for name, value in network.state_dict().items()}
    stored = load(arrays)  # what is stored is what is judged
    clothes = to_input(dataset.held_out), torch.tensor(dataset.held_out_labels)
    print(f"trained clothes: {accuracy(stored, x, y):.1f} % right")
    print(f"held-out clothes: {accuracy(stored, *clothes):.1f} % right")
    print(f"newly bent glyphs: {accuracy(stored, *some_glyphs(drawn, 2000)):.1f} % right")
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes, sha256 {hashlib.sha256(OUT.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
