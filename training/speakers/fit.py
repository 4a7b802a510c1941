"""The training loop of speaker embedders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from ser_stream.features.extractor import Extractor
from ser_stream.features.framing import repeat_to
from ser_stream.features.registry import make_extractor
from ser_stream.models.embedder import Presentation
from ser_stream.types import Float32
from training.data.features import FeatureStore
from training.errors import TrainingError
from training.launch import Launch
from training.models.xvector import XVector
from training.speakers.recipe import LEAST_FRAMES, SpeakerRecipe
from training.speakers.voices import Crops, Voices

# Recordings, about, whose mean embedding is taken off all.
CENTRED_ON = 500


@dataclass(frozen=True, slots=True)
class TrainedEmbedder:
    """A finished training."""

    net: XVector
    presentation: Presentation
    speakers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpeakerEpoch:
    """What one epoch came to: its number from 1, its mean loss, and the network so far."""

    number: int
    loss: float
    trained: TrainedEmbedder


def train_speakers(
    recipe: SpeakerRecipe,
    speakers: Sequence[str],
    store: FeatureStore,
    copies: FeatureStore | None = None,
    launch: Launch | None = None,
    on_epoch: Callable[[SpeakerEpoch], None] = lambda epoch: None,
) -> TrainedEmbedder:
    """Train a network to separate ``speakers``, and centre its embeddings on theirs.

    Args:
        recipe: what to train.
        speakers: of each recording of the stores.
        store: recordings, clean and disturbed.
        copies: likewise at other speeds.
        launch: device; the CPU unless given.
        on_epoch: called with every epoch.

    Raises:
        TrainingError: fewer than two speakers have voiced speech.
    """
    launch = Launch() if launch is None else launch
    config = recipe.train
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    rate = extractor.sample_rate_hz / extractor.hop_length
    voices = Voices(store, recipe.voicing, rate)
    slower = None if copies is None else Voices(copies, recipe.voicing, rate)
    crops = Crops(recipe, speakers, voices, slower, extractor.bands)
    if len(crops.names) < 2:
        raise TrainingError(f"telling speakers apart needs two or more, got {len(crops.names)}")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    presentation = crops.statistics(recipe.centring, extractor)
    net = XVector(recipe.network(len(crops.names), extractor.width)).to(launch.device)
    trained = TrainedEmbedder(net, presentation, crops.names)
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=config.weight_decay)
    per_epoch = max(1, crops.n_recordings // config.batch_size)
    recordings = [i for i, clip in enumerate(voices.clips) if len(clip[0].voiced)]

    for number in range(1, config.epochs + 1):
        net.train()
        net.centre.zero_()
        losses = []
        for step in range((number - 1) * per_epoch, number * per_epoch):
            warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
            done = step / (config.epochs * per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = config.lr * warm * 0.5 * (1.0 + math.cos(math.pi * done))
            n = len(crops.names)
            chosen = rng.choice(n, config.batch_size, replace=n < config.batch_size)
            frames = max(LEAST_FRAMES, round(rng.uniform(*config.crop_s) * rate))
            batch = np.empty((len(chosen), frames, extractor.width), dtype=np.float32)
            for x, which in zip(batch, chosen, strict=True):
                x[:] = presentation(crops.draw(int(which), frames, rng), extractor.gain)
                crops.mask(x, rng)
            target = torch.from_numpy(chosen).to(launch.device)
            logits = net(torch.from_numpy(batch).to(launch.device), target=target)
            loss = F.cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
            optimizer.step()
            losses.append(loss.item())
        _centre(trained, voices, recordings, extractor)
        on_epoch(SpeakerEpoch(number, float(np.mean(losses)), trained))
    net.cpu().eval()
    return trained


def _centre(
    trained: TrainedEmbedder, voices: Voices, recordings: Sequence[int], extractor: Extractor
) -> None:
    """Subtract the mean of the training recordings' embeddings."""
    trained.net.centre.zero_()
    some = recordings[:: max(1, len(recordings) // CENTRED_ON)]
    mean = embed_all(trained, [voices.joined([i]) for i in some], extractor).mean(axis=0)
    trained.net.centre.copy_(torch.from_numpy(mean))


@torch.no_grad()
def embed_all(trained: TrainedEmbedder, voiced: Sequence[Float32], extractor: Extractor) -> Float32:
    """Embeddings (recordings, dimension) of voiced frames, one frame or more each."""
    net = trained.net.eval()
    device = next(net.parameters()).device
    embeddings = []
    for features in voiced:
        x = trained.presentation(
            repeat_to(features, max(len(features), LEAST_FRAMES)), extractor.gain
        )
        embeddings.append(net.embed(torch.from_numpy(x[None]).to(device))[0].cpu().numpy())
    return np.stack(embeddings)
