"""Which layers of a model an adapter goes into, and how large it may be."""

from collections.abc import Mapping

from peft import LoraConfig
from torch import nn

from rsctir_hf.errors import RecipeError
from rsctir_hf.loading.lora import AdaptedModel
from rsctir_hf.training.model_parts import has_prefix, named_parts, setting_of
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments

MOST_BYTES = 3_000_000  # of an adapter
#: Parts that judge a picture and a sentence together; trained by the matching loss alone.
FUSION = ("fusion_encoder", "match_head")
_HALF = 2  # bytes of a number
_OF_A_NAME = 250  # bytes of a layer's two entries in the header of a safetensors file


def add_adapter(model: nn.Module, args: RetrievalTrainingArguments) -> AdaptedModel:
    """Put an adapter into all linear layers and 1x1 convolutions that the run would train.

    Parts that stay frozen get none, and the fusion encoder none without a matching loss.

    Raises:
        RecipeError: the text side has no such layer, or the adapter would be too large.
    """
    frozen = named_parts(model, args.freezing)
    layers = {
        name: widths
        for name, module in model.named_modules()
        if (widths := widths_of(module))
        and setting_of(name, frozen, default=0) >= 0
        and (args.matching_weight or not any(has_prefix(name, part) for part in FUSION))
    }
    (text,) = named_parts(model, {"text_tower": 0})
    if not any(has_prefix(name, text) for name in layers):
        raise RecipeError(
            f"lora is on and {text} has no linear layer that is trained: it is frozen, or a GRU. "
            "Thaw it, start from a model whose text side is BERT, or train all weights: "
            "--lora false."
        )
    check_size(layers, args.lora_rank)
    config = LoraConfig(
        r=args.lora_rank, lora_alpha=args.lora_alpha, target_modules=sorted(layers), bias="none"
    )
    return AdaptedModel(model, config)


def widths_of(module: nn.Module) -> tuple[int, int] | None:
    """Return inputs and outputs of a linear layer or a 1x1 convolution; None of any other."""
    if type(module) is nn.Linear:
        return module.in_features, module.out_features
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        return module.in_channels, module.out_channels
    return None


def check_size(layers: Mapping[str, tuple[int, int]], rank: int) -> None:
    """Refuse a rank whose adapter takes more than ``MOST_BYTES``.

    Raises:
        RecipeError: names the greatest rank that does not.
    """
    names = len(layers) * _OF_A_NAME + sum(2 * len(name) for name in layers)
    of_a_rank = sum(map(sum, layers.values())) * _HALF
    size = names + rank * of_a_rank
    if size > MOST_BYTES:
        raise RecipeError(
            f"lora_rank is {rank}, which makes an adapter of {size / 1e6:.1f} MB for "
            f"{len(layers)} layers; at most {MOST_BYTES / 1e6:.0f} MB are meant to be. "
            f"Expected a rank of at most {(MOST_BYTES - names) // of_a_rank}."
        )
