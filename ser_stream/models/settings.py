"""Settings of a stream that travel with its model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from ser_stream.errors import ConfigError

# Seconds between updates, wherever a stream is listened to live.
LIVE_HOP_S = 0.1
# 0 turns the filter off; a smaller positive value than this would overflow the exponent.
LEAST_EVIDENCE_S = 1e-3


@dataclass(frozen=True, slots=True)
class SmoothingConfig:
    """How posteriors are gathered into a belief, and when a label is taken or dropped.

    Attributes:
        evidence_s: seconds of speech that count as one independent observation; overlapping windows
            mostly repeat each other. More is calmer and slower; 0 takes each window as it is.
        stay_s: how long an emotion is expected to last before anything may follow. Less forgets
            faster.
        enter: belief at which the most likely class becomes the label...
        leave: ...and below which the label is dropped.
        forget_s: a pause longer than this ends what was said: belief and label start anew.
    """

    evidence_s: float = 0.7
    stay_s: float = 8.0
    enter: float = 0.70
    leave: float = 0.40
    forget_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.leave <= self.enter <= 1.0:
            raise ConfigError(
                f"need 0 <= leave <= enter <= 1, got {self.leave}, {self.enter}; lower `leave`"
            )
        if self.evidence_s != 0.0 and not LEAST_EVIDENCE_S <= self.evidence_s < math.inf:
            raise ConfigError(
                f"need evidence_s of 0 or from {LEAST_EVIDENCE_S} on, got {self.evidence_s}"
            )
        if not 0.0 < self.stay_s < math.inf:
            raise ConfigError(f"need stay_s > 0, got {self.stay_s}")
        if not self.forget_s >= 0.0:
            raise ConfigError(f"need forget_s >= 0, got {self.forget_s}")

    def with_evidence(self, evidence_s: float) -> Self:
        """As sure in the end and quicker or slower: with another ``evidence_s``, stay in scale."""
        scale = evidence_s / self.evidence_s if evidence_s and self.evidence_s else 1.0
        return replace(self, evidence_s=evidence_s, stay_s=scale * self.stay_s)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When a window counts as speech.

    Attributes:
        threshold: speech probability at which a chunk counts.
        min_share: share of a window's chunks that have to count.
    """

    threshold: float = 0.1
    min_share: float = 0.2

    def __post_init__(self) -> None:
        if not (0.0 < self.threshold < 1.0 and 0.0 < self.min_share <= 1.0):
            raise ConfigError(
                f"need 0 < threshold < 1 and 0 < min_share <= 1, got {self.threshold}, "
                f"{self.min_share}"
            )
