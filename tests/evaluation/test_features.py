"""The shipped classifier: its pin, what it is shown, and that distances order what eyes order."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_studio.data import open_dataset
from ddpm_studio.evaluation import features as module
from ddpm_studio.evaluation.features import FEATURES, SHA256, Classifier, FeatureError, features, to_input
from ddpm_studio.evaluation.frechet import frechet
from ddpm_studio.paths import resource

FILE = resource("classifier", "small.npz")
MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"


def test_the_shipped_file_is_small_and_the_pinned_one():
    assert FILE.stat().st_size < 500_000
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256
    assert sum(p.numel() for p in Classifier().parameters()) < 150_000


def test_an_altered_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    raw = bytearray(FILE.read_bytes())
    raw[-1] ^= 1
    (tmp_path / "altered.npz").write_bytes(raw)
    for name, words in (("altered.npz", "is not the classifier"), ("none.npz", "cannot be read")):
        monkeypatch.setattr(module, "resource", lambda *_, name=name: tmp_path / name)
        with pytest.raises(FeatureError, match=f"{words}.*install DDPM Studio again"):
            module._classifier.__wrapped__()


def test_features_do_not_depend_on_the_batch():
    pictures = open_dataset("fashion-mnist").held_out
    seen = features(pictures[:501])
    assert seen.shape == (500, FEATURES)
    assert seen.dtype == np.float64
    assert (seen >= 0).all()
    np.testing.assert_allclose(features(pictures[499:500]), seen[499:500], rtol=1e-4, atol=1e-5)


def test_it_knows_clothes_it_never_saw():
    dataset = open_dataset("fashion-mnist")
    assert dataset.held_out_labels is not None
    with torch.no_grad():
        said = module._classifier()(to_input(dataset.held_out)).argmax(1).numpy()
    assert (said == dataset.held_out_labels).mean() > 0.8


def test_colours_become_grey_and_other_sizes_are_resized_smoothly():
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    same = to_input(np.repeat(grey, 3, axis=3))
    assert torch.allclose(same, to_input(grey), atol=1e-6)
    assert float(to_input(np.full((1, 28, 28, 3), (255, 0, 0), np.uint8)).mean()) == pytest.approx(2 * 0.299 - 1)
    chess = np.indices((56, 56)).sum(0) % 2 * 255
    small = to_input(chess.astype(np.uint8)[np.newaxis, ..., np.newaxis])
    assert small.shape == (1, 1, 28, 28)
    assert float(small.abs().max()) < 0.2  # without smoothing it would be all black or all white
    assert features(random.integers(0, 256, (2, 9, 40, 3), dtype=np.uint8)).shape == (2, FEATURES)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 28, 28), np.uint8), np.zeros((2, 28, 28, 1)), np.zeros((0, 8, 8, 1), "u1")]
)
def test_what_is_no_picture_is_refused(wrong: np.ndarray):
    with pytest.raises(ValueError, match="uint8"):
        features(wrong)


def worse_and_worse(true: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Ways to spoil pictures, each from a little to a lot."""
    random = np.random.default_rng(0)
    x = true.astype(np.float64)
    blurred = [(x + np.roll(x, k, 1) + np.roll(x, k, 2) + np.roll(x, (k, k), (1, 2))) / 4 for k in (1, 2, 4)]
    return {
        "noise": [x + random.normal(0, s, x.shape) for s in (10, 30, 90)],
        "blur": blurred,
        "two at once": [(1 - a) * x + a * x[::-1] for a in (0.1, 0.25, 0.5)],
        "few different ones": [np.repeat(x[:n], len(x) // n, axis=0) for n in (100, 20, 4)],
    }


@pytest.mark.parametrize("name", ["fashion-mnist", "pixel-faces"])
def test_worse_pictures_lie_further_away(name: str):
    dataset = open_dataset(name)
    train, true = features(dataset.train[:5000]), dataset.held_out[:300]
    least = frechet(train, features(true))
    for way, spoiled in worse_and_worse(true).items():
        distances = [frechet(train, features(x.clip(0, 255).astype(np.uint8))) for x in spoiled]
        assert least < distances[0] < distances[1] < distances[2], way


@pytest.mark.mnist
@pytest.mark.skipif(not MNIST.is_dir(), reason="no MNIST files in ../shared/data/mnist")
def test_it_tells_digits_that_it_never_saw():
    """It learnt no MNIST: five neighbours in its features name a digit, and a missing digit is noticed."""
    dataset = open_dataset(str(MNIST))
    assert dataset.labels is not None
    assert dataset.held_out_labels is not None
    train, labels = features(dataset.train[:6000]), dataset.labels[:6000]
    seen, true = features(dataset.held_out), dataset.held_out_labels
    apart = (train**2).sum(1) - 2 * seen @ train.T
    near = labels[np.argpartition(apart, 5, axis=1)[:, :5]]
    said = np.array([np.bincount(row, minlength=10).argmax() for row in near])
    assert (said == true).mean() > 0.9
    random = np.random.default_rng(0)
    for digit in range(10):
        without = np.flatnonzero(true != digit)
        like = random.permutation(len(true))[: len(without)]
        assert frechet(train, seen[without]) > 1.1 * frechet(train, seen[like])
