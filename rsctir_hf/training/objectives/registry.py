"""Which objectives there are, by the name that a recipe calls them; how they get into a model."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, cast

import torch
from torch import nn

from rsctir_hf.data.row_facts import RowFacts
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import RecipeError
from rsctir_hf.training.objectives.kept_sentences import KeptSentences
from rsctir_hf.training.objectives.label_codes import LabelCodes
from rsctir_hf.training.objectives.label_free import LabelFree
from rsctir_hf.training.objectives.multiscale import Multiscale
from rsctir_hf.training.objectives.objective import PLACE, Objective, Options
from rsctir_hf.training.objectives.scene_classes import SceneClasses
from rsctir_hf.training.objectives.self_paced import SelfPaced
from rsctir_hf.training.objectives.text_guided import TextGuided
from rsctir_hf.training.objectives.two_level import TwoLevel

OBJECTIVES: dict[str, type[Objective]] = {
    "kept_sentences": KeptSentences,
    "label_codes": LabelCodes,
    "label_free": LabelFree,
    "self_paced": SelfPaced,
    "multiscale": Multiscale,
    "scene_classes": SceneClasses,
    "text_guided": TextGuided,
    "two_level": TwoLevel,
}


def read_objectives(asked: Mapping[str, Any]) -> dict[str, Options]:
    """Check what a recipe says under ``objectives``.

    Args:
        asked: name -> mapping of options, or nothing for the defaults.

    Raises:
        RecipeError: unknown name or option, or a value that does not fit.
    """
    return {name: _options(name, given) for name, given in asked.items()}


def attach_objectives(
    encoder: Encoder, asked: Mapping[str, Options], *, facts: RowFacts, seed: int
) -> dict[str, Objective]:
    """Put objectives with their heads into a model; these begin at random, by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {name: OBJECTIVES[name](each, encoder.model, facts) for name, each in asked.items()}
        for objective in made.values():
            objective.begin(encoder)
    if made:
        encoder.model.add_module(PLACE, nn.ModuleDict(cast("dict[str, nn.Module]", made)))
    return made


def detach_objectives(model: nn.Module) -> None:
    """Take objectives with their heads out of a model, if there are any."""
    model._modules.pop(PLACE, None)


def _options(name: str, given: Any) -> Options:  # noqa: ANN401 - a value of a recipe
    kind = OBJECTIVES[_known("objectives", name, OBJECTIVES)].Options
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise RecipeError(f"objectives: {name} is {given!r}; expected a mapping of its options.")
    defaults = {field.name: field.default for field in fields(kind)}
    said = {_known(f"objectives: {name}", key, defaults): each for key, each in given.items()}
    for key, value in said.items():
        expected = type(defaults[key])
        if expected is float and type(value) is int:
            said[key] = float(value)
        elif type(value) is not expected:
            raise RecipeError(
                f"objectives: {name}: {key} is {value!r}; expected {expected.__name__}, such as "
                f"{defaults[key]!r}."
            )
    try:
        return kind(**said)
    except RecipeError as error:
        raise RecipeError(f"objectives: {name}: {error}") from error


def _known(where: str, name: str, names: Iterable[str]) -> str:
    """Return a name that is among ``names``, or name the nearest."""
    if name in (known := sorted(names)):
        return name
    near = get_close_matches(str(name), known, n=1)
    advice = f"Did you mean {near[0]}? " if near else ""
    raise RecipeError(f"{where}: no {name!r} is known. {advice}There are {', '.join(known)}.")
