"""Recipes as they are read: plain values in, a checked `Recipe` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.resources.abc import Traversable
from typing import Any

from ser_stream.errors import ConfigError
from ser_stream.files import os_reason
from ser_stream.labels import canonical
from ser_stream.models.metadata import check_labels
from ser_stream.typed import FieldError, Limits, parse_toml, typed
from training.models import EMBEDDING, LENGTHS, TOKENS, check_model, network_kind
from training.recipe.config import Recipe, front_end_width

# A recipe has some hundred values, the longest of them a citation.
LIMITS = Limits(text=200_000, values=10_000, string=300)


def read_recipe_file(file: Traversable) -> dict[str, Any]:
    """Parse a TOML file of the size that a recipe may have.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return parse_toml(file.read_text("utf-8"), LIMITS)
    except OSError as error:
        raise ConfigError(f"cannot read ({os_reason(error)})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 (byte {error.start})") from error


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy ``table`` with ``changes``; tables within are merged likewise."""
    result = dict(table)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain values.

    Raises:
        ConfigError: a key is unknown or missing, or a value makes no sense; with its path.
    """
    recipe = typed(dict(table), Recipe)
    # A recipe may name classes as another corpus does.
    recipe = replace(
        recipe,
        labels=tuple(map(canonical, recipe.labels)),
        merge={canonical(a): canonical(b) for a, b in recipe.merge.items()},
    )
    check_labels(recipe.labels)
    width = front_end_width(recipe.frontend, recipe.frontend_params)
    if recipe.train.feature_mask > width:
        raise FieldError("train.feature_mask", f"is more than the front end's {width} features")
    recipe = _without_decided(recipe)
    config = check_model(recipe.model, recipe.network_params, where="model_params")
    _check_inputs(recipe, config)
    return recipe


def _without_decided(recipe: Recipe) -> Recipe:
    """The same without parameters that repeat what follows from the rest, as older recipes do."""
    decided = recipe.decided
    for name, value in decided.items():
        if recipe.model_params.get(name, value) != value:
            raise FieldError(
                f"model_params.{name}",
                f"got {recipe.model_params[name]!r}, but labels, front end and inputs make it "
                f"{value}; leave it out",
            )
    kept = {name: value for name, value in recipe.model_params.items() if name not in decided}
    return replace(recipe, model_params=kept)


def _check_inputs(recipe: Recipe, config: object) -> None:
    """Check that the network takes the inputs that the recipe gives, and has those it needs."""
    kind = network_kind(recipe.model)
    needs = kind.needs(config)
    for name, field_, given in (
        (EMBEDDING, "embedding", bool(recipe.embedding or recipe.speaker)),
        (LENGTHS, "windows.masked", recipe.windows.masked),
        (TOKENS, "text.tokens", recipe.text.tokens > 0),
    ):
        if given and name not in kind.takes:
            raise FieldError(field_, f"the network {recipe.model} takes no {name}")
        if name in needs and not given:
            raise FieldError(field_, f"the network {recipe.model} needs {name} here")
