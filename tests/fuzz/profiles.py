"""Profiles: found by name, and given to an engine."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from random import Random

from ser_stream.cli.assembly import recorder_of
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.profile import SCHEMA
from ser_stream.profiles import list_profiles, load_profile, profile_path
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.types import AudioBlock

from .audio import demo_path, speech
from .kinds import FuzzKind, require, require_finite
from .mutations import damaged, damaged_json

NAME = "someone"


class Fuzz(FuzzKind):
    """Profile files of the shipped model's front end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._bundle = ModelBundle.load()
        profile = recorder_of(self._bundle, [demo_path()]).finish(NAME, "2025-01-01")
        self._table = {"schema": SCHEMA, **asdict(profile)}
        self._clip = speech()[32000:64000].astype("float32")

    def make(self, rng: Random) -> tuple[str, bytes]:
        data = json.dumps(self._table).encode()
        draw = rng.random()
        if draw < 0.6:
            data = damaged_json(self._table, rng)
        elif draw < 0.95:
            data = damaged(data, rng, data)
        return ".json", data

    def check(self, path: Path) -> str | None:
        kept = profile_path(NAME)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
        try:
            require(list_profiles() == [NAME], "the profile is listed")
            profile = load_profile(NAME, self._bundle)
            engine = Engine(self._bundle, EngineConfig(profile=profile, gate=None))
            predictions = engine.feed(AudioBlock(self._clip, 0))
        finally:
            kept.unlink()
        require(bool(predictions), "two seconds give a prediction")
        for prediction in predictions:
            require_finite([prediction.posterior, prediction.smoothed], "prediction")
        return None
