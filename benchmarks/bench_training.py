"""Print how fast networks train and features are computed on this machine.

    python benchmarks/bench_training.py

Windows a second of a training step (forward, backward, optimiser) for each model on the CPU, one
thread, and on a GPU where there is one; and the speed of each front end as a multiple of real time
beside librosa for the same features, in the same run, medians.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from importlib import resources

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import soundfile
import torch
from timing import median_s

from ser_stream.features.frontend import FrontEnd
from ser_stream.features.normalizer import (
    FeatureStatistics,
    Normalizer,
    NormalizerState,
    embedding_width,
)
from ser_stream.features.registry import make_extractor
from training.fit import make_optimizer
from training.launch import Launch
from training.recipe.book import load_recipe
from training.recipe.config import Recipe

RATE_HZ = 16000
PAPERS = ("head_fusion", "mscnn_spu", "attention_pooling", "ilt_cat", "context_attention")
RECIPES = (
    "head_fusion", "mscnn_spu", "mscnn_spu/embedding", "attention_pooling", "ilt_cat",
    "ilt_cat/ilt-trainable", "context_attention",
)  # fmt: skip


def speech(seconds: float) -> np.ndarray:
    """The demo clip, repeated to ``seconds``, float32 (n,)."""
    path = resources.files("ser_stream") / "demo" / "demo.flac"
    samples, _ = soundfile.read(str(path), dtype="float32")
    return np.resize(samples, int(seconds * RATE_HZ))


def windows_per_s(recipe: Recipe, where: Launch, repeats: int) -> float:
    """Windows a second that a training step gets through."""
    torch.manual_seed(0)
    net = recipe.network()
    net.to(where.device).train()
    optimizer = make_optimizer(net, recipe.train)
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    frames = extractor(speech(5.0)).features[: recipe.window_frames]
    window = extractor.present(frames)
    if recipe.normalizer.both:
        window = np.tile(window, 2)
    n = recipe.train.batch_size
    x = torch.from_numpy(np.stack([window] * n)).to(where.device)
    x = (x - x.mean()) / x.std() + 0.01 * torch.randn_like(x)
    extra = {}
    if recipe.embedding:
        width = embedding_width(recipe.embedding, extractor.width)
        extra["embedding"] = torch.zeros(n, width, device=where.device)
    y = torch.arange(n, device=where.device) % len(recipe.labels)

    def step() -> None:
        with torch.autocast(
            where.device.type, dtype=torch.bfloat16, enabled=where.precision == "bf16"
        ):
            logits = net(x, **extra)
        loss = torch.nn.functional.cross_entropy(logits.float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    return n / median_s(step, repeats)


def librosa_features(recipe: Recipe, x: np.ndarray) -> Callable[[], object]:
    """The same features by librosa, of samples (n,)."""
    import librosa

    p = recipe.frontend_params
    hop = p["hop_length"]

    def mel(n_fft: int, n_mels: int, taper: str) -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=x, sr=RATE_HZ, n_fft=n_fft, hop_length=hop, n_mels=n_mels, window=taper, center=False
        )
        return librosa.power_to_db(power, top_db=None)

    def mfcc() -> list[np.ndarray]:
        first = librosa.feature.mfcc(S=mel(p["n_fft"], p["n_mels"], p["taper"]), n_mfcc=p["n_mfcc"])
        orders = range(1, p.get("deltas", 0) + 1)
        return [first, *(librosa.feature.delta(first, order=k) for k in orders)]

    def spectrogram() -> np.ndarray:
        return np.abs(
            librosa.stft(
                x, n_fft=p["n_fft"], win_length=p["frame_length"], hop_length=hop,
                window="hamming", center=False,
            )
        )[: p["n_bins"]]  # fmt: skip

    def is09() -> np.ndarray:
        n = p["frame_length"]
        coefficients = librosa.feature.mfcc(S=mel(n, 26, "hamming"), n_mfcc=12)
        energy = librosa.feature.rms(y=x, frame_length=n, hop_length=hop, center=False)
        crossings = librosa.feature.zero_crossing_rate(
            x, frame_length=n, hop_length=hop, center=False
        )
        pitch = librosa.yin(x, fmin=52.0, fmax=500.0, sr=RATE_HZ, hop_length=hop, center=False)
        rows = [coefficients, energy, crossings, pitch[None]]
        frames = min(r.shape[1] for r in rows)
        stacked = np.concatenate([r[:, :frames] for r in rows])
        return np.concatenate([stacked, librosa.feature.delta(stacked, width=5)])

    return {
        "mfcc": mfcc,
        "logmel": lambda: mel(p["n_fft"], p["n_mels"], p["taper"]),
        "spectrogram": spectrogram,
        "is09": is09,
    }[recipe.frontend]


def compare_features(x: np.ndarray, repeats: int) -> None:
    """Print the speed of every front end on ``x`` (n,) beside librosa's."""
    seconds = len(x) / RATE_HZ
    print(f"features of {seconds:g} s of speech, one thread, times real time (median)")
    print(f"{'front end':<32}{'ser-stream':>12}{'librosa':>12}{'ratio':>8}")
    for name in PAPERS:
        recipe = load_recipe(name)
        extractor = make_extractor(recipe.frontend, recipe.frontend_params)
        ours = seconds / median_s(lambda e=extractor: e(x), repeats)
        theirs = seconds / median_s(librosa_features(recipe, x), repeats)
        what = f"{recipe.frontend}, {extractor.width} ({name})"
        print(f"{what:<32}{ours:>12.0f}{theirs:>12.0f}{ours / theirs:>8.1f}", flush=True)

    print()


def compare_live(repeats: int) -> None:
    """Print the cost of an update every 0.1 s: ten new frames, or librosa on the last 2 s again."""
    block, n = RATE_HZ // 10, 100
    x = speech(2.0 + 0.1 * n)
    print("live: features of the last 2 s, every 0.1 s, one thread, ms an update (median)")
    print(f"{'front end':<32}{'ser-stream':>12}{'librosa':>12}{'ratio':>8}")
    for name in PAPERS:
        recipe = load_recipe(name)
        extractor = make_extractor(recipe.frontend, recipe.frontend_params)
        ones = np.ones(extractor.width, dtype=np.float32)
        front_end = FrontEnd(
            extractor,
            Normalizer(
                FeatureStatistics(ones, ones), recipe.normalizer, 100.0, NormalizerState.NONE
            ),
            capacity=2 * recipe.window_frames,
            max_samples=4 * RATE_HZ,
        )
        front_end.accept(x[: 3 * RATE_HZ])
        at = 3 * RATE_HZ

        def update(front_end: FrontEnd = front_end, frames: int = recipe.window_frames) -> None:
            nonlocal at
            front_end.accept(x[at % (len(x) - block) :][:block])
            at += block
            front_end.window(front_end.frames_ready - frames, frames)

        ours = median_s(update, n)
        theirs = median_s(librosa_features(recipe, x[: 2 * RATE_HZ]), repeats)
        what = f"{recipe.frontend}, {extractor.width} ({name})"
        print(
            f"{what:<32}{1e3 * ours:>12.2f}{1e3 * theirs:>12.2f}{theirs / ours:>8.1f}", flush=True
        )
    print()


def compare_training(repeats: int) -> None:
    """Print how many windows a second a training step takes."""
    places = [Launch(precision="fp32"), Launch(precision="bf16")]
    if torch.cuda.is_available():
        gpu = torch.device("cuda")
        places += [Launch(gpu, "fp32"), Launch(gpu, "bf16")]
    titles = [f"{p.device.type} {p.precision}" for p in places]
    print("training, windows of 2 s a second, one CPU thread (median)")
    print(f"{'recipe':<32}" + "".join(f"{t:>12}" for t in titles))
    for name in RECIPES:
        recipe = load_recipe(name)
        few = 2 if name == "attention_pooling" else repeats
        rates = [windows_per_s(recipe, p, few) for p in places]
        print(f"{name:<32}" + "".join(f"{r:>12.0f}" for r in rates), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="How fast networks train and features come.")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[2.5, 60.0], help="of audio, for the features"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)

    for seconds in args.seconds:
        compare_features(speech(seconds), args.repeats)
    compare_live(args.repeats)
    compare_training(args.repeats)


if __name__ == "__main__":
    main()
