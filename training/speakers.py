"""Train a speaker embedder: tell the speakers of any corpus apart, and keep what was learnt.

A recording is one speaker's voiced frames, joined, as `ser_stream.models.embedder` presents them.
What is reported is the equal error rate on speakers that were never heard: two recordings, one
speaker?
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional as F

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Extractor
from ser_stream.features.framing import repeat_to
from ser_stream.features.logmel import LogMelExtractor
from ser_stream.features.registry import check_front_end, make_extractor
from ser_stream.models.embedder import Presentation, Voicing, centred
from ser_stream.models.metadata import TrainingData
from ser_stream.typed import typed
from ser_stream.types import Float32
from training.checkpoint import CheckpointError, read_table, whole, write_table
from training.corpora import CREDITS, Utterance
from training.dataset import FeatureStore, build_features
from training.errors import TrainingError
from training.folds import split_by_speaker
from training.launch import Launch
from training.models.xvector import RECEPTIVE_FIELD, XVector, XVectorConfig
from training.occupancy import occupied
from training.recipe import AugmentConfig, Recipe

T = TypeVar("T")

CHECKPOINT = "speakers.pt"
SCHEMA = 1
# Fewest frames of a recording; a shorter one is repeated, in training and in trials.
LEAST_FRAMES = RECEPTIVE_FIELD + 5
# Recordings of real audio that a checkpoint carries for the parity gate.
N_EXAMPLES = 8
# Recordings, about, whose mean embedding is taken off all.
CENTRED_ON = 500
# Clips that a recording of a trial is joined of.
JOINED = (1, 4)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Optimisation.

    Attributes:
        epochs: of as many crops as there are recordings.
        batch_size: crops per step, all of one length, of different speakers where there are enough.
        lr: peak of the learning rate, which falls to 0 by a cosine.
        weight_decay: of AdamW.
        warmup_steps: in which the learning rate rises.
        clip_norm: largest norm of the gradient.
        crop_s: shortest and longest crop, seconds of voiced speech, joined of several recordings.
        disturbed_share: share of the crops that are heard under a disturbed condition.
        speed_copies: copies of every speaker at another speed, and pitch with it; each is a speaker
            of its own, because that is what it sounds like.
        speed: largest relative change of speed.
        channel_db: strength of a random filter on each crop, smooth along the bands; log-mel front
            ends only.
        feature_mask: most features blanked in one stripe (Park et al., Interspeech 2019)...
        time_mask: ...and frames in another.
        seed: of everything random.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 100
    clip_norm: float = 5.0
    crop_s: tuple[float, float] = (1.5, 3.0)
    disturbed_share: float = 0.5
    speed_copies: int = 0
    speed: float = 0.15
    channel_db: float = 0.0
    feature_mask: int = 0
    time_mask: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ConfigError("speakers: need train.epochs >= 1 and train.batch_size >= 2")
        if not 0.0 < self.crop_s[0] <= self.crop_s[1]:
            raise ConfigError(f"speakers: need 0 < shortest <= longest crop_s, got {self.crop_s}")
        if not 0.0 <= self.disturbed_share <= 1.0:
            raise ConfigError(f"speakers: got disturbed_share = {self.disturbed_share}; 0 to 1")
        if self.speed_copies < 0 or not 0.0 <= self.speed < 1.0:
            raise ConfigError("speakers: need train.speed_copies >= 0 and 0 <= train.speed < 1")


@dataclass(frozen=True, slots=True)
class SpeakerRecipe:
    """Every number of an embedder but the corpora's whereabouts.

    Attributes:
        name: of the recipe.
        frontend: name in `ser_stream.features.registry.FRONT_ENDS`.
        frontend_params: its configuration.
        source: the paper.
        centring: see `ser_stream.models.embedder.Presentation`.
        model: configuration of `training.models.xvector`, less what the data decide.
        voicing: frames that count.
        augment: disturbed copies; they keep their speed.
        train: see `TrainConfig`.
    """

    name: str
    frontend: str
    frontend_params: dict[str, Any]
    source: str = ""
    centring: str = "level"
    model: dict[str, Any] = field(default_factory=dict)
    voicing: Voicing = field(default_factory=Voicing)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check_front_end(self.frontend, self.frontend_params)
        extractor = make_extractor(self.frontend, self.frontend_params)
        centred(np.zeros((1, extractor.width), np.float32), self.centring, extractor.gain)
        self.network(2, extractor.width)
        if self.augment.speed_share:
            raise ConfigError("speakers: augment.speed_share would change who it is; see train")
        if self.train.channel_db and not isinstance(extractor, LogMelExtractor):
            raise ConfigError("speakers: train.channel_db is for the front end logmel")

    def network(self, n_speakers: int, n_features: int) -> XVectorConfig:
        """Configuration of the network.

        Raises:
            ConfigError: a parameter that it does not have, or a value that cannot work.
        """
        taken = {f.name for f in fields(XVectorConfig)} - {"n_speakers", "n_features"}
        if unknown := set(self.model) - taken:
            raise ConfigError(f"speakers, [model]: unknown {sorted(unknown)}")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in self.model.items()
        }
        return XVectorConfig(n_speakers, n_features, **values)


def parse_speaker_recipe(table: Mapping[str, Any]) -> SpeakerRecipe:
    """Build a recipe from plain values, the inverse of `dataclasses.asdict`.

    Raises:
        ConfigError: a key is unknown or missing, or a value makes no sense.
    """
    values = dict(table)
    for name, kind in (("voicing", Voicing), ("augment", AugmentConfig), ("train", TrainConfig)):
        values[name] = _section(kind, values.get(name, {}), name)
    return _section(SpeakerRecipe, values, "top level")


def load_speaker_recipe(path: Path | None = None) -> SpeakerRecipe:
    """Read a recipe file; the shipped one without.

    Raises:
        ConfigError: no such file, or it is not valid.
    """
    try:
        if path is None:
            text = (resources.files("training") / "speakers.toml").read_text("utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        return parse_speaker_recipe(tomllib.loads(text))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"recipe {path}: {error}") from error


def _section(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    of_kind = fields(kind)  # type: ignore[arg-type]
    if unknown := set(table) - {f.name for f in of_kind}:
        raise ConfigError(f"speakers, [{where}]: unknown {sorted(unknown)}")
    if missing := {
        f.name
        for f in of_kind
        if f.default is MISSING and f.default_factory is MISSING and f.name not in table
    }:
        raise ConfigError(f"speakers, [{where}]: missing {sorted(missing)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def divide(
    utterances: Sequence[Utterance], *, final: bool
) -> tuple[list[Utterance], list[Utterance]]:
    """Who is learnt from, and who is held out: no speaker is in both.

    The division is fold 0 of `training.folds.split_by_speaker`, by the speakers' names alone. Its
    test speakers are touched only by a ``final`` training, which learns from the validation
    speakers too; otherwise those are held out.
    """
    split = split_by_speaker(utterances)
    if final:
        return [*split.train, *split.validation], split.test
    return split.train, split.validation


def load_speaker_features(
    utterances: Sequence[Utterance],
    recipe: SpeakerRecipe,
    noises: Sequence[Path],
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[FeatureStore, FeatureStore | None]:
    """Frames of all utterances, clean and disturbed, and at other speeds; see `build_features`."""

    def build(augment: AugmentConfig) -> FeatureStore:
        # Of a recipe the features depend on these alone.
        asked = Recipe(
            recipe.name, (), "", {}, recipe.frontend, recipe.frontend_params, 1, 1, augment=augment
        )
        return build_features(utterances, asked, noises, cache, progress)

    train = recipe.train
    disturbed = build(recipe.augment)
    if not train.speed_copies:
        return disturbed, None
    # Another seed than the disturbances have, so that the two are not drawn alike.
    other_speeds = AugmentConfig(
        variants=train.speed_copies,
        speed_share=1.0,
        speed=train.speed,
        seed=recipe.augment.seed + 1,
    )
    return disturbed, build(other_speeds)


@dataclass(frozen=True, slots=True)
class VoicedClip:
    """One recording under one condition: all frames, and which of them are voiced.

    The frames stay mapped from the cache.
    """

    features: Float32
    voiced: NDArray[np.intp]

    def __call__(self) -> Float32:
        return self.features[self.voiced]


class Voices:
    """Voiced frames of a feature store.

    Args:
        store: frames of recordings under conditions.
        voicing: which count.
        frames_per_s: frame rate.
    """

    def __init__(self, store: FeatureStore, voicing: Voicing, frames_per_s: float) -> None:
        self.clips = [
            [VoicedClip(f.features, np.flatnonzero(voicing.of(f, frames_per_s)[0])) for f in row]
            for row in store.frames
        ]

    def joined(self, recordings: Sequence[int], variant: int = 0) -> Float32:
        """Voiced frames of recordings one after another, (frames, width)."""
        return np.concatenate([self.clips[i][variant]() for i in recordings])


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training."""

    net: XVector
    presentation: Presentation
    speakers: tuple[str, ...]


class Crops:
    """Draw training crops: a stretch of one speaker's voiced frames under one condition.

    Args:
        recipe: how.
        speakers: of each recording.
        voices: of each recording.
        copies: the same at other speeds, after the clean variant; None without.
    """

    def __init__(
        self,
        recipe: SpeakerRecipe,
        speakers: Sequence[str],
        voices: Voices,
        copies: Voices | None,
    ) -> None:
        self._config = recipe.train
        self._bands = int(recipe.frontend_params.get("n_mels", 0))
        # Class by class, recording by recording, variant by variant.
        by_class: dict[str, list[list[VoicedClip]]] = {}
        for i, speaker in enumerate(speakers):
            if not len(voices.clips[i][0].voiced):
                continue
            by_class.setdefault(speaker, []).append(voices.clips[i])
            for v in range(1, recipe.train.speed_copies + 1):
                if copies is not None and len(copies.clips[i][v].voiced):
                    by_class.setdefault(f"{speaker}@{v}", []).append([copies.clips[i][v]])
        self.names = tuple(sorted(by_class))
        self._clips = [by_class[name] for name in self.names]

    @property
    def n_recordings(self) -> int:
        """Recordings of all classes."""
        return sum(len(clips) for clips in self._clips)

    def statistics(self, centring: str, extractor: Extractor) -> Presentation:
        """Presentation by the mean and deviation of all clean recordings, each centred."""
        x = np.concatenate(
            [
                centred(clip[0](), centring, extractor.gain)
                for clips in self._clips
                for clip in clips
            ]
        )
        std = np.maximum(x.std(axis=0, dtype=np.float64), 1e-3)
        return Presentation(
            centring, x.mean(axis=0, dtype=np.float64).astype(np.float32), std.astype(np.float32)
        )

    def draw(self, which: int, frames: int, rng: np.random.Generator) -> Float32:
        """Raw frames of class ``which``, (frames, width)."""
        clips = self._clips[which]
        variants = len(clips[0])
        variant = 0
        if variants > 1 and rng.random() < self._config.disturbed_share:
            variant = int(rng.integers(1, variants))
        parts: list[Float32] = []
        total = 0
        while total < frames:
            part = clips[int(rng.integers(len(clips)))][variant]()
            # A disturbance may have left nothing of it.
            part = part if len(part) else clips[0][0]()
            parts.append(part)
            total += len(part)
        first = int(rng.integers(total - frames + 1))
        x = np.concatenate(parts)[first : first + frames]
        if self._config.channel_db:
            x[:, : self._bands] += self._channel(rng)
        return x

    def _channel(self, rng: np.random.Generator) -> Float32:
        # The lowest cosines along the bands: what a microphone or a telephone adds.
        order = np.arange(1, 5)[:, None]
        along = np.linspace(0.0, 1.0, self._bands)
        response = rng.normal(0.0, self._config.channel_db, 4) @ np.cos(np.pi * order * along)
        return response.astype(np.float32)

    def mask(self, x: Float32, rng: np.random.Generator) -> None:
        """Blank a stripe of features and one of frames in a presented crop, in place."""
        for axis, most in ((1, self._config.feature_mask), (0, self._config.time_mask)):
            size = x.shape[axis]
            length = int(rng.integers(min(most, size) + 1))
            first = int(rng.integers(size - length + 1))
            np.moveaxis(x, axis, 0)[first : first + length] = 0.0


@dataclass(frozen=True, slots=True)
class SpeakerEpoch:
    """What one epoch came to: its number from 1, its mean loss, and the network so far."""

    number: int
    loss: float
    trained: Trained


def train_speakers(
    recipe: SpeakerRecipe,
    speakers: Sequence[str],
    store: FeatureStore,
    copies: FeatureStore | None = None,
    launch: Launch | None = None,
    on_epoch: Callable[[SpeakerEpoch], None] = lambda epoch: None,
) -> Trained:
    """Train a network to tell ``speakers`` apart, and centre its embeddings on theirs.

    Args:
        recipe: what to train.
        speakers: of each recording of the stores.
        store: recordings, clean and disturbed.
        copies: likewise at other speeds.
        launch: device; the CPU unless given.
        on_epoch: told of every epoch.

    Raises:
        TrainingError: fewer than two speakers have voiced speech.
    """
    launch = Launch() if launch is None else launch
    config = recipe.train
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    rate = extractor.sample_rate_hz / extractor.hop_length
    voices = Voices(store, recipe.voicing, rate)
    slower = None if copies is None else Voices(copies, recipe.voicing, rate)
    crops = Crops(recipe, speakers, voices, slower)
    if len(crops.names) < 2:
        raise TrainingError(f"telling speakers apart needs two or more, got {len(crops.names)}")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    presentation = crops.statistics(recipe.centring, extractor)
    net = XVector(recipe.network(len(crops.names), extractor.width)).to(launch.device)
    trained = Trained(net, presentation, crops.names)
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
    trained: Trained, voices: Voices, recordings: Sequence[int], extractor: Extractor
) -> None:
    """Take the mean of the training recordings' embeddings off, which is nobody's voice."""
    trained.net.centre.zero_()
    some = recordings[:: max(1, len(recordings) // CENTRED_ON)]
    mean = embed_all(trained, [voices.joined([i]) for i in some], extractor).mean(axis=0)
    trained.net.centre.copy_(torch.from_numpy(mean))


@torch.no_grad()
def embed_all(trained: Trained, voiced: Sequence[Float32], extractor: Extractor) -> Float32:
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


def equal_error_rate(scores: ArrayLike, same: ArrayLike) -> float:
    """Share of errors at the threshold where as many impostors pass as speakers are refused.

    Between two thresholds the rates are interpolated.

    Args:
        scores: one per trial, larger for likelier the same speaker.
        same: whether it is, one per trial.

    Raises:
        ValueError: no trial of one of the two kinds, or a score is not a number.
    """
    score, is_same = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=np.bool_)
    own, other = np.sort(score[is_same]), np.sort(score[~is_same])
    if not len(own) or not len(other) or np.isnan(score).any():
        raise ValueError("an equal error rate needs trials of both kinds, and scores")
    # Accepted is what reaches the threshold; at the last one nothing does.
    threshold = np.append(np.unique(score), np.inf)
    missed = np.searchsorted(own, threshold) / len(own)
    passed = 1.0 - np.searchsorted(other, threshold) / len(other)
    i = int(np.argmax(missed >= passed))
    gap, gap_before = missed[i] - passed[i], passed[i - 1] - missed[i - 1]
    return float((gap_before * missed[i] + gap * missed[i - 1]) / (gap + gap_before))


@dataclass(frozen=True, slots=True)
class Trials:
    """All pairs of recordings, scored by the cosine of their embeddings.

    Attributes:
        score: of each pair.
        same: whether both are of one speaker.
        pairs: indices of the two recordings, (pairs, 2).
    """

    score: NDArray[np.float64]
    same: NDArray[np.bool_]
    pairs: NDArray[np.intp]

    @classmethod
    def of(cls, embeddings: ArrayLike, speakers: Sequence[str]) -> Trials:
        """Pair embeddings (recordings, dimension) of ``speakers``."""
        x = np.asarray(embeddings, dtype=np.float64)
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        first, second = np.triu_indices(len(x), 1)
        who = np.asarray(speakers)
        score = (x @ x.T)[first, second]
        return cls(score, who[first] == who[second], np.column_stack([first, second]))

    def error_rate(self, where: NDArray[np.bool_] | None = None) -> float:
        """Equal error rate of all pairs, or of those ``where`` (pairs,) is set."""
        if where is None:
            return equal_error_rate(self.score, self.same)
        return equal_error_rate(self.score[where], self.same[where])


def joined_recordings(speakers: Sequence[str], n: int, seed: int = 0) -> list[list[int]]:
    """Divide each speaker's recordings into groups of ``n`` at random; what is over is left out."""
    rng = np.random.default_rng(seed)
    groups = []
    for speaker in sorted(set(speakers)):
        own = rng.permutation([i for i, s in enumerate(speakers) if s == speaker]).tolist()
        groups += [own[k : k + n] for k in range(0, len(own) - n + 1, n)]
    return groups


def held_out_error_rate(
    trained: Trained,
    recipe: SpeakerRecipe,
    speakers: Sequence[str],
    store: FeatureStore,
    n_joined: int = 1,
) -> float:
    """Equal error rate over all pairs of clean recordings, each of ``n_joined`` clips.

    nan where there are no two such recordings of one speaker, or no two speakers.
    """
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    voices = Voices(store, recipe.voicing, extractor.sample_rate_hz / extractor.hop_length)
    heard = [i for i, clip in enumerate(voices.clips) if len(clip[0].voiced)]
    groups = joined_recordings([speakers[i] for i in heard], n_joined)
    who = [speakers[heard[group[0]]] for group in groups]
    if len(set(who)) < 2 or len(set(who)) == len(who):
        return math.nan
    voiced = [voices.joined([heard[i] for i in group]) for group in groups]
    return Trials.of(embed_all(trained, voiced, extractor), who).error_rate()


@dataclass(frozen=True, slots=True)
class SpeakerCheckpoint:
    """A trained embedder with all that its export needs.

    Attributes:
        recipe: what was trained.
        trained: the network, how it is presented with frames, and its classes.
        training_data: corpora that were learnt from.
        metrics: results, each with its protocol.
        examples: presented recordings of real audio, (frames, width) of different lengths; parity
            is checked on them.
    """

    recipe: SpeakerRecipe
    trained: Trained
    training_data: tuple[TrainingData, ...]
    metrics: dict[str, Any]
    examples: tuple[Float32, ...]

    def save(self, path: Path) -> None:
        """Write to ``path`` in one step."""
        net, presentation = self.trained.net, self.trained.presentation
        write_table(
            path,
            {
                "schema": SCHEMA,
                "speaker_recipe": asdict(self.recipe),
                "speakers": list(self.trained.speakers),
                "state": net.state_dict(),
                "mean": torch.from_numpy(presentation.mean),
                "std": torch.from_numpy(presentation.std),
                "training_data": [asdict(d) for d in self.training_data],
                "metrics": self.metrics,
                "examples": [torch.from_numpy(x) for x in self.examples],
            },
        )

    @classmethod
    def load(cls, path: Path) -> SpeakerCheckpoint:
        """Read a checkpoint, or the one in a folder.

        Raises:
            CheckpointError: missing, not a checkpoint, or of another schema.
        """
        file = path / CHECKPOINT if path.is_dir() else path
        table = read_table(file)
        if "speaker_recipe" not in table:
            raise CheckpointError(f"{file}: no speaker embedder; train one: ser-train speakers")
        if table.get("schema") != SCHEMA:
            raise CheckpointError(f"{file}: not a checkpoint of this version of ser-train")
        with whole(file):
            recipe = parse_speaker_recipe(table["speaker_recipe"])
            mean, std = (table[name].numpy() for name in ("mean", "std"))
            presentation = Presentation(recipe.centring, mean, std)
            speakers = tuple(table["speakers"])
            net = XVector(recipe.network(len(speakers), len(presentation.mean)))
            net.load_state_dict(table["state"])
            return cls(
                recipe,
                Trained(net.eval(), presentation, speakers),
                tuple(typed(d, TrainingData) for d in table["training_data"]),
                table["metrics"],
                tuple(x.numpy() for x in table["examples"]),
            )


def parity_examples(
    trained: Trained, recipe: SpeakerRecipe, store: FeatureStore
) -> tuple[Float32, ...]:
    """Presented frames of the first recordings that are long enough."""
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    voices = Voices(store, recipe.voicing, extractor.sample_rate_hz / extractor.hop_length)
    enough = [clip[0]() for clip in voices.clips if len(clip[0].voiced) >= LEAST_FRAMES]
    return tuple(trained.presentation(x, extractor.gain) for x in enough[:N_EXAMPLES])


@dataclass(frozen=True, slots=True)
class SpeakerRun:
    """A recipe on some utterances.

    Attributes:
        recipe: what to train.
        utterances: of all corpora.
        noises: recordings of background noise.
        cache: folder of cached features.
        folder: where the checkpoint goes.
        final: see `divide`.
        launch: device.
    """

    recipe: SpeakerRecipe
    utterances: Sequence[Utterance]
    noises: Sequence[Path]
    cache: Path
    folder: Path
    final: bool = False
    launch: Launch = field(default_factory=Launch)


def run_speakers(
    run: SpeakerRun,
    on_features: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[SpeakerEpoch, float], None] = lambda epoch, eer: None,
) -> SpeakerCheckpoint:
    """Train, measure on the speakers held out, and write the checkpoint into the run's folder.

    Args:
        run: what to do.
        on_features: told of clips done, and of all.
        on_epoch: told of every epoch, with the equal error rate on the validation speakers; nan
            where the test speakers are held out, who are heard at the end alone.

    Raises:
        ConfigError: nothing to train on, or the folder is in use or cannot be written.
        TrainingError: see `train_speakers`.
    """
    if run.launch.world_size > 1:
        raise ConfigError("ser-train speakers is for one process; start it without torchrun")
    with occupied(run.folder):
        return _train_and_save(run, on_features, on_epoch)


def _train_and_save(
    run: SpeakerRun,
    on_features: Callable[[int, int], None],
    on_epoch: Callable[[SpeakerEpoch, float], None],
) -> SpeakerCheckpoint:
    recipe, utterances = run.recipe, list(run.utterances)
    train, held = divide(utterances, final=run.final)
    store, copies = load_speaker_features(utterances, recipe, run.noises, run.cache, on_features)
    index = {id(u): i for i, u in enumerate(utterances)}
    learnt, left_out = ([index[id(u)] for u in part] for part in (train, held))
    held_store = store.subset(left_out)
    held_speakers = [u.speaker for u in held]

    def tell(epoch: SpeakerEpoch) -> None:
        eer = math.nan
        if not run.final:
            eer = held_out_error_rate(epoch.trained, recipe, held_speakers, held_store)
        on_epoch(epoch, eer)

    trained = train_speakers(
        recipe,
        [u.speaker for u in train],
        store.subset(learnt),
        None if copies is None else copies.subset(learnt),
        run.launch,
        tell,
    )
    part = "test" if run.final else "validation"
    metrics: dict[str, Any] = {}
    for corpus in sorted({u.corpus for u in held}):
        of = [i for i, u in enumerate(held) if u.corpus == corpus]
        names = [held_speakers[i] for i in of]
        for n in JOINED:
            eer = held_out_error_rate(trained, recipe, names, held_store.subset(of), n)
            metrics[f"{corpus} {part}, {n} {'clip' if n == 1 else 'clips'} each"] = {
                "eer": None if math.isnan(eer) else round(eer, 4),
                "protocol": f"{part} speakers, cosine, all pairs of clean recordings",
                "speakers": sorted(set(names)),
            }
    corpora = [*sorted({u.corpus for u in train}), *(["esc10"] if run.noises else [])]
    checkpoint = SpeakerCheckpoint(
        recipe,
        trained,
        tuple(CREDITS[name] for name in corpora),
        metrics,
        parity_examples(trained, recipe, store),
    )
    checkpoint.save(run.folder / CHECKPOINT)
    return checkpoint
