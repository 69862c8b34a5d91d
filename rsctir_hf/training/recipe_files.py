"""Recipes as files: flat YAML, of which one may extend another."""

import os
from pathlib import Path
from typing import Any

import yaml

from rsctir_hf.errors import RecipeError
from rsctir_hf.files.rows import decode


def read_mapping(name: str, value: dict[str, Any] | str | None) -> dict[str, Any]:
    """Accept a mapping as such, as inline YAML (from a flag), or not at all.

    Raises:
        RecipeError: if it is something else.
    """
    mapping = read_yaml(value, name) if isinstance(value, str) else value
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise RecipeError(f"{name} must be a mapping, got {mapping!r}.")
    return mapping


def read_yaml(text: str, name: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Return what a YAML text holds.

    Raises:
        RecipeError: it is no YAML, or nested more deeply than Python can follow.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"{name} is not valid YAML: {error}") from error


def read_recipe(path: Path, *, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a recipe file as a flat mapping.

    A line ``extends: other.yaml`` takes over the keys of that recipe, its path being relative to
    this one's folder; own keys win. The mappings ``config`` of both are joined, own fields winning;
    of other mappings only the own one counts.

    Args:
        path: of the file.
        below: the recipes that extend it, which it may not extend in turn.

    Raises:
        RecipeError: if it is missing, unreadable or no mapping, or extends itself.
    """
    if not os.path.isfile(path):
        raise RecipeError(f"No recipe at {path}. The shipped ones are in training/recipes/.")
    if path.resolve() in below:
        raise RecipeError(f"{path} extends itself, by way of others or not. Take that line out.")
    try:
        text = decode(path.read_bytes())
    except (UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from error
    recipe = read_yaml(text, str(path))
    if not isinstance(recipe, dict):
        raise RecipeError(f"{path} must hold 'key: value' lines, not {type(recipe).__name__}.")
    if (parent := recipe.pop("extends", None)) is None:
        return recipe
    if not isinstance(parent, str):
        raise RecipeError(f"{path}: extends is {parent!r}; expected the name of a recipe file.")
    inherited = read_recipe(path.parent / parent, below=(*below, path.resolve()))
    if isinstance(recipe.get("config"), dict) and isinstance(inherited.get("config"), dict):
        recipe["config"] = {**inherited["config"], **recipe["config"]}
    return {**inherited, **recipe}


def check(arguments: object, name: str, fits: bool, expected: str) -> None:
    """Raise ``RecipeError``, with value and what is expected of a field, unless it fits."""
    if not fits:
        raise RecipeError(f"{name} is {getattr(arguments, name)!r}; expected {expected}.")
