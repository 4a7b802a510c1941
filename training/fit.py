"""Train one network."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ser_stream.features.normalizer import FeatureStatistics
from ser_stream.models.inputs import Inputs
from ser_stream.types import Float32
from training.data.corpora import Utterance
from training.data.features import FeatureStore
from training.data.windows import Place, Presenter, hearings_of, training_statistics
from training.errors import TrainingError
from training.launch import Launch, from_first, mean_over_all
from training.metrics import score
from training.recipe.config import Recipe, TrainConfig
from training.temperature_scaling import TemperatureScaling, fit_temperature_scaling, mean_posterior


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: counted from 1.
        loss: mean training loss.
        wa: accuracy on what chooses the epoch, of the weights that would be kept.
        uar: likewise, unweighted average recall.
        seconds: wall time.
    """

    number: int
    loss: float
    wa: float
    uar: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the weights of the best epoch and how they came about."""

    net: nn.Module
    statistics: FeatureStatistics
    scaling: TemperatureScaling
    best: Epoch
    history: list[Epoch]


@torch.no_grad()
def predict(
    net: nn.Module, presenter: Presenter, places: Sequence[Place], launch: Launch
) -> Float32:
    """Logits (places, classes)."""
    net.eval()
    device = launch.device
    parts = []
    for i in range(0, len(places), 64):
        inputs = _tensors(presenter.present(places[i : i + 64]), device)
        with _autocast(launch):
            logits = net(**inputs)
        parts.append(logits.float().cpu().numpy())
    return np.concatenate(parts)


def _tensors(inputs: Inputs, device: torch.device) -> dict[str, Tensor]:
    # Lengths stay on the CPU: packed sequences want them there.
    return {
        name: torch.from_numpy(value).to("cpu" if name == "lengths" else device)
        for name, value in inputs.items()
    }


class WeightAverage:
    """Exponential moving average of a network's weights and buffers; decay 0 just copies."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.step = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Take the network's weights of this step into the average."""
        self.step += 1
        # Early on the average follows quickly; the first random weights must not linger.
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        live = net.state_dict()
        for name, kept in self.net.state_dict().items():
            if kept.dtype.is_floating_point and decay:
                kept.lerp_(live[name], 1.0 - decay)
            else:
                kept.copy_(live[name])


def spec_augment(x: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Blank two stripes of frames and one of coefficients per window (Park et al., 2019)."""
    if not (config.time_mask or config.feature_mask):
        return x
    x = x.clone()
    batch, frames, width = x.shape

    def stripes(size: int, longest: int) -> Tensor:
        length = torch.randint(0, longest + 1, (batch, 1), generator=generator)
        first = (torch.rand((batch, 1), generator=generator) * (size - length + 1)).long()
        at = torch.arange(size)[None, :]
        return (at >= first) & (at < first + length)

    if config.time_mask:
        for _ in range(2):
            x[stripes(frames, config.time_mask).to(x.device)] = 0.0
    if config.feature_mask:
        mask = stripes(width, config.feature_mask).to(x.device)
        x.transpose(1, 2)[mask] = 0.0
    return x


def make_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimiser that ``config`` names."""
    parameters = list(net.parameters())
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
        )
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, config.lr, betas=config.betas, weight_decay=config.weight_decay)


def learning_rate(epoch: int, config: TrainConfig) -> float:
    """Learning rate of ``epoch``, counted from 1."""
    if config.schedule == "steps":
        return config.lr * config.gamma ** sum(epoch > m for m in config.milestones)
    if config.schedule == "cosine":
        warmup = config.warmup_epochs
        if epoch <= warmup:
            return config.lr * epoch / (warmup + 1)
        done = (epoch - 1 - warmup) / max(1, config.epochs - warmup)
        return config.lr * 0.5 * (1.0 + float(np.cos(np.pi * done)))
    return config.lr


def fit(
    recipe: Recipe,
    train: Sequence[Utterance],
    train_store: FeatureStore,
    chooser: Sequence[Utterance],
    chooser_store: FeatureStore,
    launch: Launch | None = None,
    on_epoch: Callable[[Epoch, Callable[[], dict[str, Any]]], None] = lambda e, state: None,
    resume: dict[str, Any] | None = None,
) -> Trained:
    """Train, and keep the weights of the epoch that is best on ``chooser``.

    Args:
        recipe: what to train.
        train: training utterances, and ``train_store`` their frames.
        train_store: see ``train``.
        chooser: utterances that choose the epoch; without any the last epoch is kept and nothing
            is scaled.
        chooser_store: their frames.
        launch: device, precision and processes; the CPU unless given.
        on_epoch: called with every epoch, with a function that gives a resumable state.
        resume: such a state.

    Raises:
        TrainingError: a class has no training utterance, or no utterance is long enough.
    """
    launch = Launch() if launch is None else launch
    config, device = recipe.train, launch.device
    n_classes = len(recipe.labels)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    statistics = training_statistics(train, train_store, recipe)
    presenter = Presenter(recipe, train_store, statistics)
    truth = np.array([recipe.labels.index(u.emotion) for u in train])
    class_weight = _class_weight(truth, recipe).to(device)
    held = _Held(recipe, chooser, chooser_store, statistics) if chooser else None

    net = recipe.network().to(device)
    average = WeightAverage(net, config.average)
    optimizer = make_optimizer(net, config)
    noise = float(np.sqrt(config.noise_variance))
    history: list[Epoch] = []
    best: tuple[Epoch, dict[str, Tensor]] | None = None
    if resume is not None:
        net.load_state_dict(resume["net"])
        average.net.load_state_dict(resume["average"])
        average.step = resume["average_step"]
        optimizer.load_state_dict(resume["optimizer"])
        rng.bit_generator.state = resume["rng"]
        generator.set_state(resume["generator"])
        torch.set_rng_state(resume["dropout"])
        if resume["dropout_cuda"] and device.type == "cuda":
            torch.cuda.set_rng_state_all(resume["dropout_cuda"])
        history = [Epoch(**e) for e in resume["history"]]
        best = (Epoch(**resume["best_epoch"]), resume["best"])
    parallel = DistributedDataParallel(net) if launch.world_size > 1 else net

    for number in range(len(history) + 1, config.epochs + 1):
        if best is not None and number - 1 - best[0].number >= config.patience:
            break
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, config)
        places = presenter.train_places(train, rng)
        if len(places) < 2:
            raise TrainingError("no utterance is long enough for a window; lower window_frames")
        order = rng.permutation(len(places))
        parallel.train()
        losses = []
        for i in range(0, len(order) - 1, config.batch_size):
            picked = order[i : i + config.batch_size]
            # Every process draws alike and takes its share of each batch.
            mine = picked[launch.rank :: launch.world_size]
            if len(picked) < 2 * launch.world_size:
                continue
            batch = [places[k] for k in mine]
            inputs = _tensors(presenter.present(batch), device)
            targets = torch.from_numpy(truth[[p.utterance for p in batch]])
            y = F.one_hot(targets, n_classes).float().to(device)
            x = inputs["features"]
            if noise:
                x = x + noise * torch.randn(x.shape, generator=generator).to(device)
            x = spec_augment(x, config, generator)
            if config.mixup:
                share = float(rng.beta(config.mixup, config.mixup))
                other = torch.from_numpy(rng.permutation(len(picked))[: len(mine)] % len(mine))
                x = share * x + (1 - share) * x[other.to(device)]
                if "embedding" in inputs:
                    known = inputs["embedding"]
                    inputs["embedding"] = share * known + (1 - share) * known[other.to(device)]
                y = share * y + (1 - share) * y[other.to(device)]
            with _autocast(launch):
                logits = parallel(**{**inputs, "features": x})
            error = soft_cross_entropy(logits.float(), y, class_weight, config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            if config.clip_norm:
                nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
            optimizer.step()
            if config.average:
                average.update(net)
            losses.append(error.item())
        if not config.average:
            average.update(net)
        loss = mean_over_all(float(np.mean(losses)), launch)
        if not np.isfinite(loss):
            raise TrainingError(f"the loss is not finite in epoch {number}; lower train.lr")
        wa, uar = held.score(average.net, launch) if held else (float("nan"), float("nan"))
        # All processes go by the first one's score: their batch statistics differ a little.
        wa, uar = from_first((wa, uar), launch)
        epoch = Epoch(number, loss, wa, uar, time.monotonic() - began)
        history.append(epoch)
        # Without a chooser every epoch replaces the one before it.
        if best is None or not _merit(epoch, config) <= _merit(best[0], config):
            best = (epoch, copy.deepcopy(average.net.state_dict()))

        def state(best: Any = best) -> dict[str, Any]:
            return {
                "net": net.state_dict(),
                "average": average.net.state_dict(),
                "average_step": average.step,
                "optimizer": optimizer.state_dict(),
                "rng": rng.bit_generator.state,
                "generator": generator.get_state(),
                "dropout": torch.get_rng_state(),
                "dropout_cuda": torch.cuda.get_rng_state_all() if device.type == "cuda" else [],
                "history": [asdict(e) for e in history],
                "best_epoch": asdict(best[0]),
                "best": best[1],
            }

        on_epoch(epoch, state)

    if best is None:
        raise TrainingError("no epoch was trained")
    average.net.load_state_dict(best[1])
    scaling = TemperatureScaling()
    if held and recipe.calibrate:
        fitted = held.fit_scaling(average.net, launch)
        scaling = replace(fitted, temperature=fitted.temperature * recipe.stranger_factor)
    return Trained(average.net.cpu(), statistics, scaling, best[0], history)


class _Held:
    """The utterances that choose the epoch."""

    def __init__(
        self,
        recipe: Recipe,
        utterances: Sequence[Utterance],
        store: FeatureStore,
        statistics: FeatureStatistics,
    ) -> None:
        self._recipe = recipe
        self._utterances = utterances
        self._variants = store.variants
        self._presenter = Presenter(recipe, store, statistics)
        # Where training is augmented and the recipe says so, so is what chooses the epoch.
        self._places = self._heard(store.variants if recipe.augment.validation else 1)
        if not all(self._places):
            raise TrainingError("no utterance that could choose the epoch is long enough")
        self._truth = np.array([recipe.labels.index(u.emotion) for u in utterances])
        self._n_classes = len(recipe.labels)

    def _heard(self, variants: int) -> list[list[Place]]:
        """Windows of the first ``variants`` of each utterance, in every state that is trained."""
        return [
            [
                place
                for variant in range(variants)
                for place in self._presenter.test_places(self._utterances, hearing, variant)
            ]
            for hearing in hearings_of(self._recipe)
        ]

    def score(self, net: nn.Module, launch: Launch) -> tuple[float, float]:
        results = []
        for places in self._places:
            logits = predict(net, self._presenter, places, launch)
            index = np.array([p.utterance for p in places])
            heard = np.unique(index)
            posterior = mean_posterior(logits, index, len(self._truth))
            predicted = posterior[heard].argmax(axis=1)
            results.append(score(self._truth[heard], predicted, self._n_classes))
        return float(np.mean([r.wa for r in results])), float(np.mean([r.uar for r in results]))

    def fit_scaling(self, net: nn.Module, launch: Launch) -> TemperatureScaling:
        # A user's room is not the studio of a corpus: disturbed as training is.
        places = [place for some in self._heard(self._variants) for place in some]
        logits = predict(net, self._presenter, places, launch)
        return fit_temperature_scaling(logits, self._truth[[p.utterance for p in places]])


def _autocast(launch: Launch) -> Any:
    if launch.precision == "bf16":
        return torch.autocast(launch.device.type, dtype=torch.bfloat16)
    return nullcontext()


def _merit(epoch: Epoch, config: TrainConfig) -> float:
    return {"uar": epoch.uar, "wa": epoch.wa, "wa+uar": epoch.wa + epoch.uar}[config.select]


def _class_weight(truth: NDArray[np.int64], recipe: Recipe) -> Tensor:
    counts = np.bincount(truth, minlength=len(recipe.labels))
    if (counts == 0).any():
        missing = [n for n, c in zip(recipe.labels, counts, strict=True) if c == 0]
        raise TrainingError(f"no training utterance is {', '.join(missing)}")
    if not recipe.train.class_weights:
        return torch.ones(len(counts))
    return torch.tensor(len(truth) / (len(counts) * counts), dtype=torch.float32)


def soft_cross_entropy(
    logits: Tensor, target: Tensor, class_weight: Tensor, smoothing: float
) -> Tensor:
    """Class-weighted cross entropy of soft targets (batch, classes)."""
    n = target.shape[1]
    weight = (target * class_weight).sum(dim=1)
    soft = target * (1.0 - smoothing) + smoothing / n
    per_item = -(soft * F.log_softmax(logits, dim=1)).sum(dim=1)
    return (per_item * weight).sum() / weight.sum()
