"""A model and its processor at the start of training, built from a recipe's model arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import timm
from torch import Tensor
from transformers import AutoTokenizer, BertConfig

from rsctir_hf.embedding.encode import tell_cut
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import RecipeError
from rsctir_hf.loading.hub_files import find_model_files
from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from rsctir_hf.models.galr import GaLRConfig, GaLRModel, GaLRProcessor, build_word_tokenizer
from rsctir_hf.regions.proposer import MODEL_REGIONS, RegionProposer
from rsctir_hf.training.packaged_weights import backbone_state_dict, glove_vectors, minilm_folder
from rsctir_hf.training.recipe_args import FAMILIES, ModelArguments


def build_model(
    arguments: ModelArguments,
    captions: Iterable[list[str]],
    *,
    regions: str | RegionProposer = MODEL_REGIONS,
) -> Encoder:
    """Build the model a recipe asks for, with its starting weights.

    Args:
        arguments: family, configuration and sources of weights.
        captions: the captions of every training picture; a word tokenizer learns from them.
        regions: see ``Encoder``.

    Returns:
        An encoder that has the id of ``initial_model``, if that was named.

    Raises:
        RecipeError: if the configuration is contradictory, a weight source is unknown or does not
            fit the text side, or ``initial_model`` is of another family.
        ModelLoadError: if weights cannot be found, are no safetensors, or do not fit.
        MissingDependencyError: if a weight package is not installed.
    """
    if arguments.initial_model:
        encoder = replace(load_initial_model(arguments), regions=regions)
    else:
        try:
            build: Any = build_cmpagl if arguments.family == "cmpagl" else build_galr
            model, processor = build(arguments, captions)
            encoder = Encoder(model, processor, regions)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"The recipe's config does not make a model: {error}") from error
    tell_cut(encoder.model, encoder.processor, list(chain.from_iterable(captions)))
    return encoder


def load_initial_model(arguments: ModelArguments) -> Encoder:
    """Load a trained model; a recipe that names no family takes over its."""
    source = arguments.initial_model or ""
    loaded = Encoder.from_pretrained(source)
    found = loaded.config.model_type
    if found not in FAMILIES:
        raise RecipeError(
            f"initial_model {source} is a {type(loaded.model).__name__} (model_type {found!r}); "
            f"expected a model of {' or '.join(FAMILIES)}, such as checkpoints/cmpagl-rs."
        )
    arguments.family = arguments.family or found
    if found != arguments.family:
        raise RecipeError(
            f"initial_model {source} is of family {found!r}, but the recipe's "
            f"family is {arguments.family!r}."
        )
    return loaded


def build_cmpagl(
    arguments: ModelArguments, captions: Iterable[list[str]]
) -> tuple[CMPAGLModel, CMPAGLProcessor]:
    """Build a CMPAGL-style model; ``captions`` are not needed, its tokenizer comes with BERT."""
    text = text_source(arguments.text_weights)
    text_config = text_configuration(arguments, text)
    config = CMPAGLConfig(**{"text_config": text_config, **arguments.options})
    model = CMPAGLModel(config)
    model.load_towers(image_state_dict=image_weights(arguments, config.stem), text=text)
    processor = CMPAGLProcessor.build(
        AutoTokenizer.from_pretrained(text or minilm_folder()),
        image_size=config.image_size,
        mean=arguments.image_mean,
        std=arguments.image_std,
        max_length=arguments.max_tokens,
    )
    return model, processor


def build_galr(
    arguments: ModelArguments, captions: Iterable[list[str]]
) -> tuple[GaLRModel, GaLRProcessor]:
    """Build a GaLR model; a GRU's tokenizer is made from ``captions``."""
    options = arguments.options.copy()
    text = None
    if options.get("text_encoder_type") == "bert":
        text = text_source(arguments.text_weights)
        options.setdefault("text_config", text_configuration(arguments, text))
        tokenizer = AutoTokenizer.from_pretrained(text or minilm_folder())
        tokenizer.model_max_length = arguments.max_tokens
    else:
        sentences = [caption for row in captions for caption in row]
        tokenizer = build_word_tokenizer(
            sentences, min_count=arguments.min_word_count, model_max_length=arguments.max_tokens
        )
        options.setdefault("vocab_size", len(tokenizer))
    model = GaLRModel(GaLRConfig(**options))
    weights = image_weights(arguments, model.config.backbone)
    model.load_towers(image_state_dict=weights, text=text)
    if arguments.text_weights == "glove":
        rows = tokenizer.get_vocab()
        words = sorted(rows, key=lambda word: rows[word])
        model.text_encoder.load_word_vectors(*glove_vectors(words))
    processor = GaLRProcessor.build(
        tokenizer,
        image_size=model.config.image_size,
        mean=arguments.image_mean,
        std=arguments.image_std,
    )
    return model, processor


def image_weights(arguments: ModelArguments, backbone: str | None) -> Mapping[str, Tensor] | None:
    """Return starting weights for a timm backbone or stem; ``None`` for a random start."""
    source = arguments.image_weights
    if source == "none":
        return None
    if source == "packaged" and backbone:
        return backbone_state_dict(backbone)
    if source == "timm" and backbone:
        return timm.create_model(backbone, pretrained=True).state_dict()
    raise RecipeError(
        f"image_weights is {source!r} with backbone {backbone!r}; expected 'packaged' or 'timm' "
        "together with a backbone, or 'none'."
    )


def text_configuration(arguments: ModelArguments, text: Path | None) -> BertConfig:
    """Return the sizes of the BERT ``text``, cut to its first ``text_layers`` layers."""
    if text is None:
        return BertConfig()
    config = BertConfig.from_pretrained(text)
    if arguments.text_layers > config.num_hidden_layers:
        raise RecipeError(
            f"text_layers is {arguments.text_layers}, but {text} has {config.num_hidden_layers}."
        )
    config.num_hidden_layers = arguments.text_layers or config.num_hidden_layers
    return config


def text_source(name: str) -> Path | None:
    """Return the folder of BERT weights; ``None`` for a random start."""
    if name == "none":
        return None
    if name == "glove":
        raise RecipeError(
            "text_weights is 'glove', which starts a GRU, but this text side is BERT."
        )
    if name == "minilm":
        return minilm_folder()
    return find_model_files(name, what="text model", processor=False).folder
