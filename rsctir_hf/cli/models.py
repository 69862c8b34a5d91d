"""``rsctir import-clip`` and ``export``: a model in another form."""

from dataclasses import asdict

from rsctir_cli.commands import Export, ImportClip
from rsctir_hf.cli.output import print_result
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.export import export_onnx, require_onnx
from rsctir_hf.loading.open_clip import import_open_clip, towers


def import_clip(asked: ImportClip) -> None:
    """Make a model folder of other weights, and print what they turned out to be."""
    model = import_open_clip(
        asked.weights,
        asked.output,
        tokenizer=asked.tokenizer,
        vocabulary=asked.vocabulary,
        activation=None if asked.activation is None else asked.activation.value,
    )
    picture, text = towers(model.config)
    said = (
        f"{asked.output}: ViT of {picture.num_hidden_layers} layers, {picture.hidden_size} wide, "
        f"{picture.num_attention_heads} heads, patches of {picture.patch_size} px, pictures of "
        f"{picture.image_size} px; text of {text.num_hidden_layers} layers, {text.hidden_size} "
        f"wide, {text.num_attention_heads} heads; {picture.hidden_act}."
    )
    result = {"output": str(asked.output), "picture_layers": picture.num_hidden_layers}
    result |= {"image_size": picture.image_size, "patch_size": picture.patch_size}
    result |= {"text_layers": text.num_hidden_layers, "activation": picture.hidden_act}
    print_result(said, result, as_json=asked.as_json)


def export(asked: Export) -> None:
    """Write both towers of a model, and print what each takes and gives."""
    require_onnx()  # before a long load
    encoder = Encoder.from_pretrained(
        asked.model, adapter=asked.adapter, trust_remote_code=asked.trust
    )
    written = export_onnx(encoder, asked.output)
    lines = []
    for tower in (written.image, written.text):
        inputs = ", ".join(
            f"{name} {' x '.join(map(str, shape))}" for name, (_, shape) in tower.inputs.items()
        )
        lines.append(
            f"{asked.output / tower.file}: {inputs} -> batch x {tower.dimension}; "
            f"{tower.largest_difference:.1e} from PyTorch at most"
        )
    result = {tower.file: asdict(tower) for tower in (written.image, written.text)}
    print_result("\n".join(lines), result, as_json=asked.as_json)
