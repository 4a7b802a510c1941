"""What a person's neutral voice looks like to a front end, as a value.

A profile holds statistics, never audio: mean and variance of the features over the voiced frames of
some seconds of neutral speech. With it the normaliser knows the speaker from the first window on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np

from ser_stream.errors import ConfigError, SerStreamError
from ser_stream.features.normalizer import Moments, Normalizer, NormalizerState
from ser_stream.files import os_reason, write_text
from ser_stream.models.bundle import ModelBundle
from ser_stream.printable import one_line
from ser_stream.typed import Limits, parse_json, sized, typed, within

SCHEMA = 1
NAME = re.compile(r"[\w][\w .-]{0,63}")
# A profile holds two numbers for each feature, and little else.
LIMITS = Limits(text=1_000_000, depth=3, values=40_000)


class ProfileError(SerStreamError):
    """A profile that cannot be made, found or used."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Statistics of one person's neutral speech for one front end.

    Attributes:
        name: given by the user.
        frontend: key of the front end and its parameters; see `frontend_key`.
        voiced_s: seconds of voiced speech behind the statistics.
        level_db: mean level of the voice, dBFS.
        mean: per feature.
        variance: per feature.
        created: date, ISO 8601.
    """

    name: Annotated[str, sized(1, 64)]
    frontend: Annotated[str, sized(1, 100)]
    voiced_s: Annotated[float, within(0.0, 1e6)]
    level_db: Annotated[float, within(-1000.0, 1000.0)]
    mean: Annotated[tuple[Annotated[float, within(-1e9, 1e9)], ...], sized(1, 16384)]
    variance: Annotated[tuple[Annotated[float, within(0.0, 1e18)], ...], sized(1, 16384)]
    created: Annotated[str, sized(0, 40)] = ""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.variance):
            raise ProfileError(f"{len(self.mean)} means and {len(self.variance)} variances")
        if not self.voiced_s > 0.0:
            raise ProfileError(f"need voiced_s > 0, got {self.voiced_s}")
        if not NAME.fullmatch(self.name):
            raise ProfileError(f"{self.name!r} cannot be the name of a profile")

    def save(self, path: Path) -> None:
        """Write JSON, replacing the file in one step.

        Raises:
            ProfileError: it cannot be written.
        """
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, allow_nan=False) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text, private=True)
        except OSError as error:
            raise ProfileError(f"{path}: cannot write ({os_reason(error)})") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read JSON.

        Raises:
            ProfileError: no such file, or not a profile of this version.
        """
        try:
            with path.open("rb") as file:
                table = parse_json(file.read(LIMITS.text + 1), LIMITS)
            if table.pop("schema", None) != SCHEMA:
                raise ProfileError("another schema")
            return typed(table, cls)
        except OSError as error:
            raise ProfileError(f"{path}: no profile there ({os_reason(error)})") from error
        except (ConfigError, ProfileError) as error:
            raise ProfileError(
                f"{path}: not a profile of this version: {one_line(str(error))}; calibrate again"
            ) from error

    def moments(self, normalizer: Normalizer, frames_per_s: float) -> Moments:
        """Moments for `Normalizer.use_profile`.

        Raises:
            ProfileError: it is for other features.
        """
        wanted = len(normalizer.prior.mean)
        if len(self.mean) != wanted:
            raise ProfileError(
                f"profile {self.name!r} has {len(self.mean)} features, the model's front end "
                f"{wanted}; calibrate again with this model"
            )
        weight = self.voiced_s * frames_per_s
        return normalizer.profile(
            weight, self.level_db, np.array(self.mean), np.array(self.variance)
        )


def check_adapts(bundle: ModelBundle) -> None:
    """Refuse a model that learns nothing of a speaker.

    Raises:
        ProfileError: it does not.
    """
    if bundle.meta.normalizer_state is not NormalizerState.RUNNING:
        raise ProfileError(f"{bundle.meta.name} does not adapt to a speaker")


def check_profiles(bundle: ModelBundle) -> None:
    """Refuse a model that was not trained for profiles.

    Raises:
        ProfileError: it was not.
    """
    if not bundle.meta.profiles:
        raise ProfileError(
            f"{bundle.meta.name} was not trained to know a speaker by a profile: it would hear "
            "worse with one than without"
        )


def frontend_key(frontend: str, params: Mapping[str, Any]) -> str:
    """Name a front end with its parameters: models with the same key share profiles."""
    text = json.dumps(dict(params), sort_keys=True, default=str)
    return f"{frontend}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
