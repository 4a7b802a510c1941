"""The front ends by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Extractor
from ser_stream.features.is09 import LldConfig, LldExtractor
from ser_stream.features.logmel import LogMelConfig, LogMelExtractor
from ser_stream.features.mfcc import MfccConfig, MfccExtractor
from ser_stream.features.normalizer import (
    FeatureStatistics,
    Normalizer,
    NormalizerConfig,
    NormalizerState,
)
from ser_stream.features.spectrogram import SpectrogramConfig, SpectrogramExtractor
from ser_stream.typed import typed


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndKind:
    """One row of the registry. The rest is in the `Extractor` itself.

    Attributes:
        config: a frozen dataclass of plain values, each with its range and a default.
        extractor: built from such a configuration.
    """

    config: type[Any]
    extractor: Callable[[Any], Extractor]

    def __post_init__(self) -> None:
        if not is_dataclass(self.config):
            raise ConfigError(f"a front end needs a dataclass to configure it, got {self.config}")
        bare = [
            field.name
            for field in fields(self.config)
            if field.default is MISSING and field.default_factory is MISSING
        ]
        if bare:
            raise ConfigError(f"{self.config.__name__}: no default for {', '.join(bare)}")


# Closed: a model file names one of these and can bring no code of its own.
FRONT_ENDS: dict[str, FrontEndKind] = {
    "mfcc": FrontEndKind(config=MfccConfig, extractor=MfccExtractor),
    "logmel": FrontEndKind(config=LogMelConfig, extractor=LogMelExtractor),
    "spectrogram": FrontEndKind(config=SpectrogramConfig, extractor=SpectrogramExtractor),
    "is09": FrontEndKind(config=LldConfig, extractor=LldExtractor),
}


def make_extractor(name: str, params: Mapping[str, Any]) -> Extractor:
    """Build front end ``name``.

    Raises:
        ConfigError: the registry has no such front end, or a parameter is not one of its own, has
            another type, or is out of range.
    """
    config = check_front_end(name, params)
    return FRONT_ENDS[name].extractor(config)


def check_front_end(name: str, params: Mapping[str, Any], where: str = "") -> Any:
    """Build the configuration of front end ``name`` and nothing else; raises like the above.

    Args:
        name: of the front end.
        params: its parameters.
        where: their path in a file, for errors.
    """
    if name not in FRONT_ENDS:
        raise ConfigError(f"unknown front end {name!r}; known: {', '.join(FRONT_ENDS)}")
    return typed(dict(params), FRONT_ENDS[name].config, where=where or f"front end {name}")


def make_normalizer(
    extractor: Extractor,
    statistics: FeatureStatistics,
    config: NormalizerConfig,
    state: NormalizerState,
    embeds: str = "",
) -> Normalizer:
    """Build a fresh normaliser of an extractor's features; see `Normalizer`.

    Raises:
        ConfigError: the level is to be taken out of features whose gain is no constant.
    """
    rate = extractor.sample_rate_hz / extractor.hop_length
    return Normalizer(statistics, config, rate, state, embeds=embeds, gain=extractor.gain)
