"""The user's profiles: where they are, and how they are made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ser_stream.audio.resample import StreamingResampler
from ser_stream.errors import AudioError, ConfigError
from ser_stream.features.frontend import FrontEnd
from ser_stream.features.normalizer import Moments, NormalizerState
from ser_stream.files import config_folder, os_reason, write_bytes
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import NAME, Profile, ProfileError, frontend_key
from ser_stream.stream.detector import SileroDetector
from ser_stream.stream.engine import Engine
from ser_stream.stream.gate import SpeechGate
from ser_stream.types import AudioBlock, AudioSource, Float32

# Speech that a profile needs; a guided reading asks for more.
MIN_SPEECH_S = 5.0
WANTED_S = 15.0
# Softer than this the noise of many microphones is as loud; louder than this they clip.
QUIET_DBFS = -50.0
CLIPPED_SHARE = 1e-3
PIECE = 8192
# To read aloud: everyday words in an even mood, with most sounds of English.
PASSAGE = (
    "The path begins behind the old station and follows the river for a while. It passes a row of "
    "garden sheds, a small bridge and a field where horses stand. In spring the water is high; in "
    "autumn it moves slowly and carries leaves. After the second bend there is a bench. From there "
    "you can see the church, the mill, and the road that leads to the next village. A bus stops at "
    "the corner every half hour. Most people walk back the way they came."
)


def today() -> str:
    """Date of today, ISO 8601, UTC."""
    return datetime.now(UTC).date().isoformat()


def profile_folder() -> Path:
    """Folder of the user's profiles."""
    return config_folder() / "profiles"


def profile_path(name: str) -> Path:
    """Path of the profile ``name``.

    Raises:
        ConfigError: the name cannot be that of a file everywhere.
    """
    if not NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise ConfigError(
            f"profile name {name!r}: use letters, digits, spaces, dots and dashes, 64 at most"
        )
    return profile_folder() / f"{name}.json"


def load_profile(name: str, bundle: ModelBundle) -> Profile:
    """Find the profile ``name`` for the front end of ``bundle``.

    Raises:
        ProfileError: no such profile, or it was made for another front end.
    """
    path = profile_path(name)
    if not path.exists():
        known = ", ".join(list_profiles()) or "none yet; make one with ser-stream calibrate"
        raise ProfileError(f"no profile {name!r}; known: {known}")
    profile = Profile.load(path)
    if profile.frontend != _key(bundle):
        raise ProfileError(
            f"profile {name!r} was made for another front end than that of {bundle.meta.name}; "
            "calibrate again with this --model"
        )
    return profile


def list_profiles() -> list[str]:
    """Names of the user's profiles."""
    return _names(profile_folder())


def _names(folder: Path) -> list[str]:
    found = (p.stem for p in folder.glob("*.json") if NAME.fullmatch(p.stem))
    return sorted(found) if folder.is_dir() else []


# What is learnt of a voice
#
# Of a stream that learns, the statistics of the voice are kept at its end, never audio, and the
# next one begins with them. They hold two minutes of speech, so that older speech fades out.


def voice_path(name: str, taken_back: bool = False) -> Path:
    """Path of what was learnt of the voice ``name``, or of what that has replaced.

    Raises:
        ConfigError: the name cannot be that of a file everywhere.
    """
    return config_folder() / "voices" / ("before" if taken_back else "") / profile_path(name).name


def load_voice(name: str, bundle: ModelBundle) -> Profile | None:
    """What was learnt of the voice ``name`` for the front end of ``bundle``; None if nothing.

    Raises:
        ProfileError: the file is damaged.
    """
    path = voice_path(name)
    if not path.exists():
        return None
    voice = Profile.load(path)
    # Another model listens to something else in a voice; what this one knows is its own.
    return voice if voice.frontend == _key(bundle) else None


def load_known(
    name: str, bundle: ModelBundle, learns: bool = False
) -> tuple[Profile | None, Profile | None]:
    """Find all that is known of the voice ``name``: its profile, and what was learnt of it.

    Args:
        name: of both.
        bundle: the model that is to know it.
        learns: whether something will be learnt, so that nothing may be known yet.

    Raises:
        ProfileError: nothing is known of it, or a file cannot be used.
    """
    voice = load_voice(name, bundle)
    if not profile_path(name).exists() and (learns or voice is not None):
        return None, voice
    return load_profile(name, bundle), voice


def learn(name: str, engine: Engine, created: str = "") -> Profile | None:
    """Keep what ``engine`` has heard of the voice ``name``; None if that was too little.

    What is replaced can be had back by `unlearn`.

    Raises:
        ProfileError: it cannot be written.
    """
    if engine.voiced_s < MIN_SPEECH_S:
        return None
    voice = _profile_of(engine.bundle, engine.heard, name, created)
    path, before = voice_path(name), voice_path(name, taken_back=True)
    try:
        before.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            # A copy: what there is stays until the new file is whole.
            write_bytes(before, path.read_bytes(), private=True)
        else:
            before.unlink(missing_ok=True)
    except OSError as error:
        raise ProfileError(f"{before}: cannot write ({os_reason(error)})") from error
    voice.save(path)
    return voice


def unlearn(name: str) -> bool:
    """Take back what was learnt of the voice ``name`` last; tell whether anything is left.

    Raises:
        ProfileError: nothing was learnt, or it cannot be written.
    """
    path, before = voice_path(name), voice_path(name, taken_back=True)
    try:
        if before.exists():
            before.replace(path)
            return True
        path.unlink()
    except FileNotFoundError:
        raise ProfileError(f"nothing was learnt of the voice {name!r}") from None
    except OSError as error:
        raise ProfileError(f"{path}: cannot write ({os_reason(error)})") from error
    return False


def list_voices() -> list[str]:
    """Names of the voices of which something was learnt."""
    return _names(config_folder() / "voices")


def list_known() -> list[str]:
    """Names of all voices: those with a profile, and those of which something was learnt."""
    return sorted({*list_profiles(), *list_voices()})


def forget(name: str) -> None:
    """Delete the profile ``name`` and what was learnt of that voice.

    Raises:
        ProfileError: a file cannot be deleted.
    """
    for path in (profile_path(name), voice_path(name), voice_path(name, taken_back=True)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ProfileError(f"{path}: cannot delete ({os_reason(error)})") from error


def _key(bundle: ModelBundle) -> str:
    return frontend_key(bundle.meta.frontend, bundle.meta.frontend_params)


def _profile_of(bundle: ModelBundle, moments: Moments, name: str, created: str) -> Profile:
    normalizer = bundle.make_normalizer()
    level_db, mean, variance = normalizer.voice_of(moments)
    return Profile(
        name,
        _key(bundle),
        normalizer.evidence_s(moments),
        level_db,
        tuple(mean.tolist()),
        tuple(variance.tolist()),
        created,
    )


class ProfileRecorder:
    """Listen to neutral speech until there is enough for a profile; no thread, no I/O.

    Args:
        bundle: the model that the profile is for.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        self._bundle = bundle
        self._normalizer = bundle.make_normalizer(NormalizerState.RUNNING)
        self._front_end = FrontEnd(bundle.extractor, self._normalizer, 1024, PIECE)
        self._detector = SileroDetector()
        self._gate = SpeechGate(self._detector, bundle.meta.gate, PIECE)
        self._heard = self._clipped = self._speech_chunks = 0
        self._power = 0.0

    def feed(self, samples: Float32) -> None:
        """Take the next samples, mono float32 (n,) at the model's rate.

        Raises:
            AudioError: one of them is not usable, see `AudioBlock.usable`.
        """
        if not AudioBlock(samples, self._heard).usable:
            raise AudioError("NaN, infinite or huge samples; no profile can be made of them")
        self._front_end.gather(samples)
        new = self._gate.accept(samples)
        self._speech_chunks += int(np.sum(new >= self._gate.config.threshold))
        self._heard += len(samples)
        self._clipped += int(np.sum(np.abs(samples) >= 0.999))
        self._power += float(np.sum(np.square(samples, dtype=np.float64)))

    def listen(self, source: AudioSource) -> Iterator[AudioBlock]:
        """Take a source of any rate, and yield each of its blocks once it was taken.

        Raises:
            AudioError: the source cannot be read, or see `feed`.
        """
        resampler = StreamingResampler(source.sample_rate_hz, self._bundle.meta.sample_rate_hz)
        for block in source:
            self.feed(resampler.push(block).samples)
            yield block
        self.feed(resampler.flush().samples)

    @property
    def heard_s(self) -> float:
        """Seconds of audio so far."""
        return self._heard / self._bundle.meta.sample_rate_hz

    @property
    def speech_s(self) -> float:
        """Seconds of speech so far."""
        return self._speech_chunks * self._detector.chunk_length / self._bundle.meta.sample_rate_hz

    @property
    def level_dbfs(self) -> float:
        """Mean level so far, dBFS."""
        return 10.0 * float(np.log10(max(self._power / max(self._heard, 1), 1e-12)))

    def advice(self) -> str | None:
        """What is wrong with the level, in words; None if nothing is."""
        if self._heard and self._clipped / self._heard > CLIPPED_SHARE:
            return "too loud: the microphone clips; lower its gain or move away"
        if self.heard_s > 2.0 and self.level_dbfs < QUIET_DBFS:
            return "too quiet: raise the microphone's gain or move closer"
        return None

    def finish(self, name: str, created: str = "", least_s: float = MIN_SPEECH_S) -> Profile:
        """Make the profile.

        Raises:
            ProfileError: there were less than ``least_s`` seconds of speech, or it clipped.
        """
        advice = self.advice()
        moments = self._front_end.heard
        if self.speech_s < least_s or moments.weight == 0:
            raise ProfileError(
                f"only {self.speech_s:.1f} s of speech in {self.heard_s:.0f} s, need "
                f"{least_s:g}; read on without long pauses" + (f" ({advice})" if advice else "")
            )
        if self._clipped / self._heard > CLIPPED_SHARE:
            raise ProfileError(str(advice))
        return _profile_of(self._bundle, moments, name, created)
