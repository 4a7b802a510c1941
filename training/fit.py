"""Train one network on windows as a live stream would present them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ser_stream.bundle import calibrated_softmax
from ser_stream.errors import SerStreamError
from ser_stream.features import repeat_to
from ser_stream.frontend import make_extractor
from ser_stream.normalizer import FeatureStatistics, Normalizer, NormalizerState, voiced_frames
from ser_stream.types import Float32, Float64
from training.corpora import Utterance
from training.dataset import FeatureStore
from training.metrics import score
from training.models import make_model
from training.recipe import Recipe


class TrainingError(SerStreamError, ValueError):
    """A run that cannot be trained as it was asked for."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: counted from 1.
        loss: mean training loss.
        wa: validation accuracy of the averaged weights, a speaker's clips through one normaliser.
        uar: likewise, unweighted average recall.
        seconds: wall time.
    """

    number: int
    loss: float
    wa: float
    uar: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Posterior = softmax((logits + bias) / temperature)."""

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the weights of the best epoch and how they came about."""

    net: nn.Module
    statistics: FeatureStatistics
    calibration: Calibration
    best: Epoch
    history: list[Epoch]


def frames_per_s(recipe: Recipe) -> float:
    """Frame rate of the recipe's front end."""
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    return extractor.sample_rate_hz / extractor.hop_length


def training_statistics(store: FeatureStore, recipe: Recipe) -> FeatureStatistics:
    """Mean and standard deviation of the voiced frames under all conditions."""
    rate = frames_per_s(recipe)
    count, total, square = 0, 0.0, 0.0
    for row in store.frames:
        for frames in row:
            voiced, _ = voiced_frames(frames, recipe.normalizer, rate)
            x = frames.features[voiced].astype(np.float64)
            count += len(x)
            total = total + x.sum(axis=0)
            square = square + (x**2).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 1e-6))
    return FeatureStatistics(np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32))


def by_speaker(utterances: Sequence[Utterance]) -> dict[str, list[int]]:
    """Indices of each speaker's utterances."""
    groups: dict[str, list[int]] = {}
    for i, utterance in enumerate(utterances):
        groups.setdefault(utterance.speaker, []).append(i)
    return groups


def normalized_window(
    normalizer: Normalizer, features: Float32, moments: Float64, first: int, length: int
) -> Float32:
    """Window [first, first + length) as `FrontEnd.window` gives it; short clips are repeated."""
    last = min(first + length, len(features)) - 1
    raw = features[first : first + length]
    if len(raw) < length:
        raw = repeat_to(features, length)
    return normalizer.normalize(raw, moments[last])


def draw_windows(
    utterances: Sequence[Utterance],
    store: FeatureStore,
    normalizer: Normalizer,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Float32, NDArray[np.int64]]:
    """Draw an epoch's windows (n, frames, features) and utterance indices (n,).

    Every speaker is heard in a new order under one of the conditions through one normaliser, which
    now and then forgets the speaker, so that the network meets all amounts of evidence.
    """
    train, length = recipe.train, recipe.window_frames
    windows: list[Float32] = []
    index: list[int] = []
    for group in by_speaker(utterances).values():
        clean = store.variants == 1 or rng.random() < train.clean_share
        variant = 0 if clean else int(rng.integers(1, store.variants))
        normalizer.reset()
        for i in rng.permutation(group):
            if rng.random() < train.forget_share:
                normalizer.reset()
            frames = store[int(i), variant]
            moments = normalizer.accept(frames)
            room = max(1, len(frames) - length + 1)
            for first in rng.integers(room, size=train.crops):
                windows.append(
                    normalized_window(normalizer, frames.features, moments, int(first), length)
                )
                index.append(int(i))
    return np.stack(windows), np.array(index)


def evaluation_windows(
    utterances: Sequence[Utterance],
    store: FeatureStore,
    normalizer: Normalizer,
    recipe: Recipe,
    alone: bool = False,
) -> tuple[Float32, NDArray[np.int64]]:
    """All windows of the clean clips; each speaker's clips in one fixed random order.

    Args:
        utterances: what to evaluate.
        store: their frames.
        normalizer: reset per speaker, or per clip if ``alone``.
        recipe: window length and step.
        alone: hear every clip as if it were the first.
    """
    rng = np.random.default_rng(0)
    length = recipe.window_frames
    windows: list[Float32] = []
    index: list[int] = []
    for group in by_speaker(utterances).values():
        normalizer.reset()
        for i in rng.permutation(group):
            if alone:
                normalizer.reset()
            frames = store[int(i), 0]
            moments = normalizer.accept(frames)
            for first in range(0, max(1, len(frames) - length + 1), recipe.window_hop_frames):
                windows.append(
                    normalized_window(normalizer, frames.features, moments, first, length)
                )
                index.append(int(i))
    return np.stack(windows), np.array(index)


@torch.no_grad()
def predict(net: nn.Module, windows: Float32, device: torch.device) -> Float32:
    """Logits (n, classes) of windows (n, frames, features)."""
    net.eval()
    parts = [
        net(torch.from_numpy(windows[i : i + 256]).to(device)).float().cpu().numpy()
        for i in range(0, len(windows), 256)
    ]
    return np.concatenate(parts)


def mean_posterior(
    logits: Float32,
    index: NDArray[np.int64],
    n: int,
    calibration: Calibration = Calibration(),
) -> Float64:
    """Average the window posteriors of each utterance, (n, classes)."""
    total = np.zeros((n, logits.shape[1]))
    p = calibrated_softmax(logits, calibration.temperature, calibration.bias or 0.0)
    np.add.at(total, index, p)
    return total / np.maximum(np.bincount(index, minlength=n), 1)[:, None]


def fit_calibration(logits: Float32, truth: NDArray[np.int64]) -> Calibration:
    """Temperature and bias with the least class-balanced negative log-likelihood.

    Every class weighs the same, because UAR does and because nobody knows how often a user's voice
    is which. The biases sum to 0.

    Source: Alexandari, Kundaje & Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation", ICML 2020.
    """
    n = logits.shape[1]
    z, y = torch.from_numpy(logits).double(), torch.from_numpy(truth)
    weight = 1.0 / np.maximum(np.bincount(truth, minlength=n), 1)
    # In scale = 1 / temperature and shift = bias / temperature the problem is convex.
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, shift], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(z * scale + shift, y, weight=torch.from_numpy(weight))
        value.backward()
        return value

    optimizer.step(loss)
    temperature = 1.0 / max(float(scale.detach()), 0.05)
    bias = (shift - shift.mean()).detach() * temperature
    return Calibration(temperature, tuple(bias.tolist()))


class WeightAverage:
    """Exponential moving average of a network's weights and buffers."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self._decay = decay
        self._step = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self._step += 1
        # Early on the average follows quickly; the first random weights must not linger.
        decay = min(self._decay, (1 + self._step) / (10 + self._step))
        live = net.state_dict()
        for name, kept in self.net.state_dict().items():
            if kept.dtype.is_floating_point:
                kept.lerp_(live[name], 1.0 - decay)
            else:
                kept.copy_(live[name])


def jitter(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Shift and scale each coefficient of windows (batch, frames, features) at random."""
    if strength == 0.0:
        return x
    batch, _, width = x.shape
    shift = strength * torch.randn((batch, 1, width), generator=generator)
    scale = torch.exp(strength * torch.randn((batch, 1, width), generator=generator))
    return x * scale.to(x.device) + shift.to(x.device)


def spec_augment(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Blank two stripes of frames and one of coefficients per window (Park et al., 2019)."""
    x = x.clone()
    batch, frames, width = x.shape

    def stripes(size: int, longest: int) -> Tensor:
        length = torch.randint(0, longest + 1, (batch, 1), generator=generator)
        first = (torch.rand((batch, 1), generator=generator) * (size - length + 1)).long()
        at = torch.arange(size)[None, :]
        return (at >= first) & (at < first + length)

    if recipe.train.time_mask:
        for _ in range(2):
            x[stripes(frames, recipe.train.time_mask).to(x.device)] = 0.0
    if recipe.train.feature_mask:
        mask = stripes(width, recipe.train.feature_mask).to(x.device)
        x.transpose(1, 2)[mask] = 0.0
    return x


def fit(
    recipe: Recipe,
    train: Sequence[Utterance],
    train_store: FeatureStore,
    validation: Sequence[Utterance],
    validation_store: FeatureStore,
    device: torch.device,
    on_epoch: Callable[[Epoch, Callable[[], dict[str, Any]]], None] = lambda e, state: None,
    resume: dict[str, Any] | None = None,
) -> Trained:
    """Train, keeping the averaged weights of the epoch with the best validation UAR.

    Args:
        recipe: what to train.
        train: training utterances, and ``train_store`` their frames.
        train_store: see ``train``.
        validation: utterances of other speakers, and ``validation_store`` their frames; without any
            the last epoch is kept and nothing is calibrated.
        validation_store: see ``validation``.
        device: where the network runs.
        on_epoch: told of every epoch, with a function that gives a resumable state.
        resume: such a state.
    """
    config = recipe.train
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    statistics = training_statistics(train_store, recipe)
    normalizer = Normalizer(
        statistics, recipe.normalizer, frames_per_s(recipe), NormalizerState.RUNNING
    )
    truth = np.array([recipe.labels.index(u.emotion) for u in train])
    counts = np.bincount(truth, minlength=len(recipe.labels))
    if (counts == 0).any():
        missing = [n for n, c in zip(recipe.labels, counts, strict=True) if c == 0]
        raise TrainingError(f"no training utterance is {', '.join(missing)}")
    class_weight = torch.tensor(
        len(truth) / (len(counts) * counts), dtype=torch.float32, device=device
    )
    held_windows, held_index = (
        evaluation_windows(validation, validation_store, normalizer, recipe)
        if validation
        else (None, None)
    )
    held_truth = np.array([recipe.labels.index(u.emotion) for u in validation])

    net = make_model(recipe.model, {"n_classes": len(recipe.labels), **recipe.model_params})
    net.to(device)
    average = WeightAverage(net, config.average)
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=config.weight_decay)
    history: list[Epoch] = []
    best: tuple[Epoch, dict[str, Tensor]] | None = None
    if resume is not None:
        net.load_state_dict(resume["net"])
        average.net.load_state_dict(resume["average"])
        average._step = resume["average_step"]
        optimizer.load_state_dict(resume["optimizer"])
        rng.bit_generator.state = resume["rng"]
        generator.set_state(resume["generator"])
        torch.set_rng_state(resume["dropout"])
        history = [Epoch(**e) for e in resume["history"]]
        best = (Epoch(**resume["best_epoch"]), resume["best"])

    for number in range(len(history) + 1, config.epochs + 1):
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _schedule(number - 1, config.warmup_epochs, config.epochs)
        windows, index = draw_windows(train, train_store, normalizer, recipe, rng)
        order = rng.permutation(len(windows))
        net.train()
        losses = []
        for i in range(0, len(order) - 1, config.batch_size):
            picked = order[i : i + config.batch_size]
            if len(picked) < 2:
                continue
            x = torch.from_numpy(windows[picked]).to(device)
            y = F.one_hot(torch.from_numpy(truth[index[picked]]), len(counts)).float().to(device)
            x = spec_augment(jitter(x, config.jitter, generator), recipe, generator)
            if config.mixup:
                share = float(rng.beta(config.mixup, config.mixup))
                other = torch.from_numpy(rng.permutation(len(picked))).to(device)
                x = share * x + (1 - share) * x[other]
                y = share * y + (1 - share) * y[other]
            loss = soft_cross_entropy(net(x), y, class_weight, config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            average.update(net)
            losses.append(loss.item())
        wa = uar = float("nan")
        if held_windows is not None and held_index is not None:
            logits = predict(average.net, held_windows, device)
            posterior = mean_posterior(logits, held_index, len(validation))
            held = score(held_truth, posterior.argmax(axis=1), len(counts))
            wa, uar = held.wa, held.uar
        epoch = Epoch(number, float(np.mean(losses)), wa, uar, time.monotonic() - began)
        history.append(epoch)
        # Without validation speakers every epoch replaces the one before it.
        if best is None or not epoch.uar <= best[0].uar:
            best = (epoch, copy.deepcopy(average.net.state_dict()))

        def state(best: Any = best) -> dict[str, Any]:
            return {
                "net": net.state_dict(),
                "average": average.net.state_dict(),
                "average_step": average._step,
                "optimizer": optimizer.state_dict(),
                "rng": rng.bit_generator.state,
                "generator": generator.get_state(),
                "dropout": torch.get_rng_state(),
                "history": [asdict(e) for e in history],
                "best_epoch": asdict(best[0]),
                "best": best[1],
            }

        on_epoch(epoch, state)
        if number - best[0].number >= config.patience:
            break

    if best is None:
        raise TrainingError("no epoch was trained")
    average.net.load_state_dict(best[1])
    calibration = Calibration()
    if held_windows is not None and held_index is not None:
        logits = predict(average.net, held_windows, device)
        calibration = fit_calibration(logits, held_truth[held_index])
    return Trained(average.net.cpu(), statistics, calibration, best[0], history)


def soft_cross_entropy(
    logits: Tensor, target: Tensor, class_weight: Tensor, smoothing: float
) -> Tensor:
    """Class-weighted cross entropy of soft targets (batch, classes)."""
    n = target.shape[1]
    weight = (target * class_weight).sum(dim=1)
    soft = target * (1.0 - smoothing) + smoothing / n
    per_item = -(soft * F.log_softmax(logits, dim=1)).sum(dim=1)
    return (per_item * weight).sum() / weight.sum()


def _schedule(epoch: int, warmup: int, epochs: int) -> float:
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    return 0.5 * (1.0 + float(np.cos(np.pi * (epoch - warmup) / max(1, epochs - warmup))))
