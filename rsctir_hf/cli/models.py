"""Commands that turn a model into another form: ``import-clip`` and ``export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import Model, Trust
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.export import export_onnx, require_onnx
from rsctir_hf.loading.open_clip import DEFAULT_TOKENIZER, import_open_clip, towers


class Activation(StrEnum):
    """What stands between the two layers of a CLIP's feed-forward parts."""

    GELU = "gelu"
    QUICK_GELU = "quick_gelu"


class Format(StrEnum):
    """What ``export`` writes."""

    ONNX = "onnx"


def import_clip(
    weights: Annotated[
        Path, typer.Option(help="open_clip's .pt or .safetensors, such as RemoteCLIP-ViT-B-32.pt.")
    ],
    output: Annotated[Path, typer.Option(help="A new folder.")],
    tokenizer: Annotated[
        str, typer.Option(help="Folder or Hub id of CLIP's tokenizer.")
    ] = DEFAULT_TOKENIZER,
    vocabulary: Annotated[
        Path | None,
        typer.Option(help="bpe_simple_vocab_16e6.txt.gz: make the tokenizer without the Hub."),
    ] = None,
    activation: Annotated[
        Activation | None,
        typer.Option(help="Default: quick_gelu, as OpenAI's weights; gelu for towers above ViT-L."),
    ] = None,
) -> None:
    """Make a model folder of RemoteCLIP, GeoRSCLIP or other weights in open_clip's format."""
    model = import_open_clip(
        weights,
        output,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        activation=None if activation is None else activation.value,
    )
    picture, text = towers(model.config)
    print(
        f"{output}: ViT of {picture.num_hidden_layers} layers, {picture.hidden_size} wide, "
        f"{picture.num_attention_heads} heads, patches of {picture.patch_size} px, pictures of "
        f"{picture.image_size} px; text of {text.num_hidden_layers} layers, {text.hidden_size} "
        f"wide, {text.num_attention_heads} heads; {picture.hidden_act}."
    )


def export(
    model: Model,
    output: Annotated[Path, typer.Option(help="A new folder.")],
    form: Annotated[Format, typer.Option("--format", help="onnx.")] = Format.ONNX,
    trust: Trust = False,
) -> None:
    """Write both towers of a model as files that run without PyTorch."""
    require_onnx()  # before a long load
    encoder = Encoder.from_pretrained(model, trust_remote_code=trust)
    written = export_onnx(encoder, output)
    for tower in (written.image, written.text):
        inputs = ", ".join(
            f"{name} {' x '.join(map(str, shape))}" for name, (_, shape) in tower.inputs.items()
        )
        print(
            f"{output / tower.file}: {inputs} -> batch x {tower.dimension}; "
            f"{tower.largest_difference:.1e} from PyTorch at most"
        )
