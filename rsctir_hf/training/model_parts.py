"""Parts of a model as a recipe names them: by the prefix of their parameters' names."""

from collections.abc import Iterable, Mapping

from torch import nn

from rsctir_hf.errors import RecipeError

#: What a recipe may call a pretrained network, and its name in one family or another; the first
#: that a model has counts.
TOWERS = {
    "image_tower": ("image_model.stem", "image_model", "backbone"),
    "text_tower": ("text_model", "text_encoder.bert", "text_encoder"),
}
#: What lies between the picture side's tower and its projection, in one family or another.
NECKS = {
    "image_neck": (
        *("image_model.stem_embed", "image_model.stem_norm", "image_model.level_norms"),
        *("image_model.layers", "image_model.norm", "mvsa", "region_branch", "midf"),
    )
}
EARLY_HALF = "early_half"  # of a tower, in the place of a module's name


def named_parts(model: nn.Module, settings: Mapping[str, float]) -> dict[str, float]:
    """Return settings by module prefix, with towers and neck called as this model calls them.

    Of ``image_neck`` counts what the model has; where all of it is tower, nothing.

    Raises:
        RecipeError: the model has no such tower, or the tower no halves.
    """
    names = [name for name, _ in model.named_parameters()]

    def held(prefixes: Iterable[str]) -> list[str]:
        return [each for each in prefixes if any(has_prefix(name, each) for name in names)]

    parts: dict[str, float] = {}
    for prefix, setting in settings.items():
        first, dot, rest = prefix.partition(".")
        if prefix in NECKS:
            tower = held(TOWERS["image_tower"])[:1]
            parts |= {each: setting for each in held(NECKS[prefix]) if not within(each, tower)}
            continue
        if first in TOWERS:
            if not (own := held(TOWERS[first])):
                raise RecipeError(
                    f"{prefix}: this {type(model).__name__} has none of {', '.join(TOWERS[first])}."
                )
            found = own[0]
            if rest == EARLY_HALF:
                parts |= dict.fromkeys(early_half(model, found), setting)
                continue
            first = found
        parts[f"{first}{dot}{rest}"] = setting
    return parts


def early_half(model: nn.Module, tower: str) -> list[str]:
    """Return prefixes of the first half of a tower's blocks, and of what lies before them.

    The blocks are those of its longest list of modules, half of them rounded down.

    Raises:
        RecipeError: the tower has no list of modules.
    """
    inner = model.get_submodule(tower)
    lists = {
        name: module
        for name, module in inner.named_modules()
        if name and isinstance(module, nn.ModuleList | nn.Sequential) and len(module) > 1
    }
    if not lists:
        raise RecipeError(
            f"{EARLY_HALF}: {tower} is a {type(inner).__name__}, which is no row of blocks. Name "
            "the modules that you mean."
        )
    blocks = max(lists, key=lambda name: len(lists[name]))
    found, at = [], tower
    for step in blocks.split("."):
        for name, module in inner.named_children():
            if name == step:
                break
            if any(True for _ in module.parameters()):
                found.append(f"{at}.{name}")
        inner, at = inner.get_submodule(step), f"{at}.{step}"
    return found + [f"{at}.{number}" for number in range(len(lists[blocks]) // 2)]


def setting_of(name: str, settings: Mapping[str, float], *, default: float) -> float:
    """Return the setting of a parameter; of several prefixes that fit, the longest decides."""
    fits = [prefix for prefix in settings if has_prefix(name, prefix)]
    return settings[max(fits, key=len)] if fits else default


def within(name: str, modules: Iterable[str]) -> bool:
    """Whether a parameter or module lies in one of ``modules``."""
    return any(has_prefix(name, each) for each in modules)


def has_prefix(name: str, prefix: str) -> bool:
    """Whether a dotted parameter name lies in the module ``prefix`` names."""
    return name == prefix or name.startswith(f"{prefix}.")
