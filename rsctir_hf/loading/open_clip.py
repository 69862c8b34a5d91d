"""Weights in open_clip's format, as RemoteCLIP and GeoRSCLIP publish them, made a ``CLIPModel``.

Every size is read off the weights' shapes, but for two things that no shape tells:

- **Attention heads**: width / 64, and 16 in picture towers wider than 1024, as in the ViTs of
  OpenAI and open_clip from B-32 and L-14 to H-14 and bigG-14.
- **Activation**: OpenAI's networks use QuickGELU, open_clip's own use GELU, and a fine-tuned file
  does not say where it started. The authors of RemoteCLIP (``remoteclip_retrieval.py``) and of
  GeoRSCLIP (``inference.py`` of RS5M, ViT-B-32) evaluate their weights in a network made with
  ``pretrained="openai"``, which means QuickGELU; GeoRSCLIP's ViT-H-14 goes into one of open_clip's
  own. OpenAI published nothing wider than ViT-L. Hence the default: ``quick_gelu`` up to a width
  of 1024, ``gelu`` above. (RemoteCLIP's README loads the same file into ``ViT-B-32`` without that
  word, which means GELU: other vectors.)
"""

import gzip
import math
import pickle
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from rsctir_hf.errors import ModelLoadError, QueryError, UnsupportedError
from rsctir_hf.files.atomic import new_folder
from rsctir_hf.loading.checks import LOADING_ERRORS, first_keys
from rsctir_hf.loading.hub_files import could_be_hub_id, explain_refusal

ACTIVATIONS = ("gelu", "quick_gelu")
DEFAULT_TOKENIZER = "openai/clip-vit-base-patch32"
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_PACKAGES = ("open_clip", "clip")  # hold it
_TOKENIZER_FILES = ["tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json"]

_HEAD_WIDTH = 64
_WIDEST_OF_OPENAI = 1024  # ViT-L
_SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")
_WRAPPERS = ("state_dict", "model")  # under which training loops keep the weights
_PREFIX = "module."  # that DistributedDataParallel puts before every key
# Plain numbers in OpenAI's own files, which the shapes tell as well.
_IGNORED = {"input_resolution", "context_length", "vocab_size"}

_PICTURE_LAYERS = "visual.transformer.resblocks"
_TEXT_LAYERS = "transformer.resblocks"
_SINGLE = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
}
_TRANSPOSED = {"visual.proj", "text_projection"}  # open_clip multiplies from the other side
_IN_A_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def import_open_clip(
    weights: str | Path,
    output: str | Path,
    *,
    tokenizer: str | Path | None = None,
    vocabulary: str | Path | None = None,
    activation: str | None = None,
) -> CLIPModel:
    """Write a ``CLIPModel`` and its processor from weights in open_clip's format.

    Args:
        weights: a ``.safetensors`` file, or a ``.pt`` file that holds tensors and nothing that
            has to be run. The state dict may stand under ``state_dict`` and its keys may start
            with ``module.``.
        output: a folder that does not exist yet, or is empty; whole at the end, or not there.
        tokenizer: folder or Hub id of CLIP's tokenizer, to be used instead of a vocabulary.
        vocabulary: ``bpe_simple_vocab_16e6.txt.gz`` to build the tokenizer from without the Hub.
            Default: that beside the weights, or in the packages ``open_clip_torch`` or ``clip``
            where one is installed; else the tokenizer is ``DEFAULT_TOKENIZER``, from the Hub.
        activation: ``gelu`` or ``quick_gelu``; the default is explained at the top.

    Returns:
        The model that was written, in evaluation mode.

    Raises:
        ModelLoadError: the weights, the tokenizer or the vocabulary cannot be read, or do not fit.
        UnsupportedError: a picture tower that is no ViT (RN50).
        QueryError: no such activation; a tokenizer and a vocabulary.
        OutputExistsError: there is something at ``output``.
    """
    if tokenizer and vocabulary:
        raise QueryError("There are a tokenizer and a vocabulary. Give one of them.")
    with new_folder(output) as folder:  # refuses one that is not empty, before any work
        vocabulary = vocabulary or (None if tokenizer else find_vocabulary(Path(weights)))
        name = str(vocabulary or tokenizer or DEFAULT_TOKENIZER)
        words = None if vocabulary else _load_tokenizer(name)  # before a long load
        state = read_state_dict(weights)
        config = config_of(state, activation=activation)
        words = words or read_vocabulary(name, size=towers(config)[1].vocab_size)
        return _write_model(folder, state, config, words=words, named=(name, weights))


def _write_model(
    folder: Path,
    state: Mapping[str, Tensor],
    config: CLIPConfig,
    *,
    words: Any,  # noqa: ANN401
    named: tuple[str, str | Path],
) -> CLIPModel:
    """Write model and processor; ``named`` are tokenizer and weights, for the message."""
    vision, text = towers(config)
    if len(words) != text.vocab_size:
        raise ModelLoadError(
            f"The tokenizer {named[0]} has {len(words)} tokens and the weights in "
            f"{named[1]} have {text.vocab_size}. Give CLIP's own, such as {DEFAULT_TOKENIZER}."
        )
    words.model_max_length = text.max_position_embeddings
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(text, name, getattr(words, name))
    model = CLIPModel(config).eval()
    model.load_state_dict(convert_state_dict(state, config))
    side = cast(int, vision.image_size)
    pictures = CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    model.save_pretrained(folder)
    CLIPProcessor(image_processor=pictures, tokenizer=words).save_pretrained(folder)
    return model


def find_vocabulary(weights: Path) -> Path | None:
    """Return CLIP's vocabulary beside some weights, or in a package that brings it along."""
    found = [find_spec(package) for package in _PACKAGES]
    places = [weights, *(Path(spec.origin) for spec in found if spec and spec.origin)]
    files = [place.parent / VOCABULARY for place in places]
    return next((file for file in files if file.is_file()), None)


def read_state_dict(weights: str | Path) -> dict[str, Tensor]:
    """Read open_clip's state dict, in float32 and without wrapping.

    Raises:
        ModelLoadError: no such file, code would have to be run, or there is no state dict in it.
    """
    file = Path(weights)
    if not file.is_file():
        raise ModelLoadError(f"{file} is not a file. Give the .pt or .safetensors file of weights.")
    try:
        if file.suffix == ".safetensors":
            found: Any = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (*LOADING_ERRORS, pickle.UnpicklingError, EOFError, struct.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run it all the same
            reason = "it is damaged, or holds more than tensors."
        raise ModelLoadError(
            f"{file} cannot be read as a file of tensors alone: {reason} Nothing else in a .pt "
            "file is run here, because it could be any program. Download it again; or, where you "
            "trust it, load it in open_clip and write the weights with "
            "safetensors.torch.save_file(model.state_dict(), FILE)."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not any(isinstance(v, Tensor) for v in found.values()):
        raise ModelLoadError(
            f"{file} holds a {type(found).__name__} without weights; expected a state dict, plain "
            f"or under one of {', '.join(_WRAPPERS)}."
        )
    state = {str(key).removeprefix(_PREFIX): value for key, value in found.items()}
    return {key: value.float() for key, value in state.items() if key not in _IGNORED}


def config_of(state: Mapping[str, Tensor], *, activation: str | None = None) -> CLIPConfig:
    """Read a CLIP's configuration off the shapes of its weights.

    Args:
        state: open_clip's state dict.
        activation: ``gelu`` or ``quick_gelu``; the default is explained at the top.

    Raises:
        UnsupportedError: the picture tower is no ViT.
        ModelLoadError: a weight that tells a size is missing or has other dimensions.
        QueryError: no such activation.
    """
    if activation not in (None, *ACTIVATIONS):
        raise QueryError(f"activation is {activation!r}; expected {' or '.join(ACTIVATIONS)}.")
    if any(key.startswith(("visual.layer1.", "visual.attnpool.")) for key in state):
        raise UnsupportedError(
            "These weights have a ResNet for pictures (RN50 or RN101), which the CLIPModel of "
            "transformers has not. Take the ViT-B-32 or ViT-L-14 weights of the same authors."
        )
    width, _, patch, _ = _shape(state, "visual.conv1.weight", dimensions=4)
    places, _ = _shape(state, "visual.positional_embedding", dimensions=2)
    longest, text_width = _shape(state, "positional_embedding", dimensions=2)
    vocabulary, _ = _shape(state, "token_embedding.weight", dimensions=2)
    _, shared = _shape(state, "text_projection", dimensions=2)
    activation = activation or ("quick_gelu" if width <= _WIDEST_OF_OPENAI else "gelu")
    return CLIPConfig(
        projection_dim=shared,
        vision_config={
            "image_size": math.isqrt(places - 1) * patch,
            "patch_size": patch,
            "num_attention_heads": min(width, _WIDEST_OF_OPENAI) // _HEAD_WIDTH or 1,
            **_sizes(state, _PICTURE_LAYERS, width=width, activation=activation),
        },
        text_config={
            "vocab_size": vocabulary,
            "max_position_embeddings": longest,
            "num_attention_heads": text_width // _HEAD_WIDTH or 1,
            # The tokenizer's own take their place; CLIP's two special tokens come last.
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
            **_sizes(state, _TEXT_LAYERS, width=text_width, activation=activation),
        },
    )


def convert_state_dict(state: Mapping[str, Tensor], config: CLIPConfig) -> dict[str, Tensor]:
    """Return open_clip's weights under the names of ``CLIPModel``.

    Raises:
        ModelLoadError: weights are missing, left over, or have another shape.
    """
    names = weight_names(config)
    missing, left_over = names.keys() - state.keys(), state.keys() - names.keys()
    _refuse({"are missing": missing, "are left over": left_over})
    converted: dict[str, Tensor] = {}
    for key, targets in names.items():
        value = state[key].T if key in _TRANSPOSED else state[key]
        parts = value.chunk(len(targets)) if len(targets) > 1 else (value,)
        for target, part in zip(targets, parts, strict=True):
            converted[target] = part.contiguous()
    with torch.device("meta"):
        wanted = CLIPModel(config).state_dict()
    _refuse({"have another shape": {n for n in wanted if wanted[n].shape != converted[n].shape}})
    return converted


def weight_names(config: CLIPConfig) -> dict[str, tuple[str, ...]]:
    """Return each name of open_clip with those of ``CLIPModel``, three for joined projections."""
    names: dict[str, tuple[str, ...]] = {key: (target,) for key, target in _SINGLE.items()}
    vision, text = towers(config)
    for source, tower, layers in (
        (_PICTURE_LAYERS, "vision_model", vision.num_hidden_layers),
        (_TEXT_LAYERS, "text_model", text.num_hidden_layers),
    ):
        for layer in range(layers):
            here, there = f"{source}.{layer}", f"{tower}.encoder.layers.{layer}"
            for kind in ("weight", "bias"):
                names[f"{here}.attn.in_proj_{kind}"] = tuple(
                    f"{there}.self_attn.{part}_proj.{kind}" for part in "qkv"
                )
                for key, target in _IN_A_LAYER.items():
                    names[f"{here}.{key}.{kind}"] = (f"{there}.{target}.{kind}",)
    return names


def towers(config: CLIPConfig) -> tuple[CLIPVisionConfig, CLIPTextConfig]:
    """Return the configurations of both towers as the objects they are after construction."""
    return cast(CLIPVisionConfig, config.vision_config), cast(CLIPTextConfig, config.text_config)


def read_vocabulary(file: str | Path, *, size: int) -> CLIPTokenizer:
    """Build CLIP's tokenizer from the merges of its byte-pair encoding.

    Args:
        file: ``bpe_simple_vocab_16e6.txt.gz``, or such a file unpacked: a heading, then two parts
            a line.
        size: how many tokens the model has; the file of CLIP holds more merges than it uses.

    Raises:
        ModelLoadError: it cannot be read, or holds too few merges.
    """
    path = Path(file)
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelLoadError(
            f"The vocabulary {path} cannot be read: {error} Expected bpe_simple_vocab_16e6.txt.gz, "
            "which the package open_clip_torch holds."
        ) from error
    letters = list(bytes_to_unicode().values())
    letters += [f"{letter}</w>" for letter in letters]
    wanted = size - len(letters) - len(_SPECIAL_TOKENS)
    merges = [tuple(line.split()) for line in text.splitlines()[1 : wanted + 1]]
    if len(merges) < wanted or any(len(merge) != 2 for merge in merges):
        raise ModelLoadError(
            f"The vocabulary {path} does not hold the {wanted} merges, two parts a line under a "
            f"heading, that a model of {size} tokens needs. Give bpe_simple_vocab_16e6.txt.gz."
        )
    tokens = [*letters, *("".join(merge) for merge in merges), *_SPECIAL_TOKENS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=cast(Any, merges))


def _load_tokenizer(name: str) -> Any:  # noqa: ANN401
    """Load a tokenizer alone: its files, without the weights that lie beside them on the Hub."""
    try:
        # One request: AutoTokenizer alone asks a Hub that does not answer for minutes.
        there = Path(name).is_dir() or not could_be_hub_id(name)
        folder = name if there else snapshot_download(name, allow_patterns=_TOKENIZER_FILES)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (*LOADING_ERRORS, HTTPError) as error:
        reason = str(error)
        if isinstance(error, HTTPError | LocalEntryNotFoundError):
            reason = explain_refusal(name, "tokenizer", error)
        raise ModelLoadError(
            f"The tokenizer {name!r} could not be loaded: {' '.join(reason.split())} Or give a "
            f"vocabulary: --vocabulary {VOCABULARY}, which the package open_clip_torch holds (it "
            "is found where that is installed, and beside the weights)."
        ) from error


def _shape(state: Mapping[str, Tensor], key: str, *, dimensions: int) -> tuple[int, ...]:
    if key not in state or state[key].ndim != dimensions:
        found = f"has shape {tuple(state[key].shape)}" if key in state else "is missing"
        raise ModelLoadError(
            f"These are no weights of a CLIP in open_clip's format: {key} {found}; expected "
            f"{dimensions} dimensions. The file's first keys: {first_keys(state)}."
        )
    return tuple(state[key].shape)


def _sizes(
    state: Mapping[str, Tensor], layers: str, *, width: int, activation: str
) -> dict[str, Any]:
    """Return what both towers have in common: widths, number of layers, activation."""
    numbers = {
        key.removeprefix(f"{layers}.").split(".")[0] for key in state if key.startswith(layers)
    }
    return {
        "hidden_size": width,
        "intermediate_size": _shape(state, f"{layers}.0.mlp.c_fc.weight", dimensions=2)[0],
        "num_hidden_layers": len(numbers),
        "hidden_act": activation,
    }


def _refuse(wrong: Mapping[str, set[str]]) -> None:
    if any(wrong.values()):
        said = "; ".join(
            f"{len(keys)} {what} ({first_keys(keys)})" for what, keys in wrong.items() if keys
        )
        raise ModelLoadError(
            f"The weights are no whole CLIP in open_clip's format: {said}. Give the file as its "
            "authors publish it; a CLIP with another text or picture tower cannot be converted."
        )
