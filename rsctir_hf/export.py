"""Both towers of a dual encoder as ONNX files, which run without PyTorch.

Whatever the processor gives to ``get_image_features`` and ``get_text_features`` becomes an input of
the files, and unit vectors come out: the cosine of a picture and a sentence is their product. A
GaLR model's regions are proposed inside the file (its peaks, suppression, RoIAlign and graph), so
pictures alone go in; regions of a detector cannot be handed in. The fusion encoder of a CMPAGL
model (``rerank="match"``) stays outside: it judges pairs, not pictures or sentences.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rsctir_hf.embedding.encode import evaluating, unit_vectors
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import MissingDependencyError, UnsupportedError
from rsctir_hf.files.atomic import new_folder

#: Loaded when something is exported: every command would wait for them otherwise.
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
IMAGE_FILE, TEXT_FILE = "image_encoder.onnx", "text_encoder.onnx"
MANIFEST_FILE, README_FILE = "onnx.json", "README.md"
OUTPUT = "embeddings"
TOLERANCE = 1e-3  # largest difference from PyTorch that is let through

_LARGEST_FILE = 1_900_000_000  # bytes of weights; one ONNX file ends at 2 GiB
_TRACED, _CHECKED = 2, 3  # pictures and sentences per batch
#: What the README says of pictures, where the processor is one of our own and where not.
_DEPTH = {
    True: "The processor stretches pictures of more than 8 bits, all bands together, and refuses "
    "what it cannot read rightly. Do not convert them first: Pillow keeps the upper byte.",
    False: "Pictures are 8-bit RGB that stands upright. Of others make it by "
    "`rsctir_hf.files.pictures.read_image`: Pillow keeps the upper byte of 16-bit colours.",
}
_SIDE = 64  # pixels of the pictures that are traced, before the processor
_SHORT = "a river"
_SENTENCES = (
    "boats moored beside a pier",
    _SHORT,
    "many white planes are parked next to the long terminal of a large airport",
)


@dataclass(frozen=True)
class Tower:
    """One exported side.

    Attributes:
        file: its name in the folder.
        inputs: for each name in order, the type and the shape; a word stands for any number.
        dimension: D of the unit vectors (B, D) that come out as ``embeddings``.
        largest_difference: from PyTorch, over vectors of a batch of another size.
    """

    file: str
    inputs: dict[str, tuple[str, list[int | str]]]
    dimension: int
    largest_difference: float


@dataclass(frozen=True)
class OnnxExport:
    """What was written: both towers, and the model they came from."""

    model: str
    fingerprint: str
    image: Tower
    text: Tower


def require_onnx() -> None:
    """Raise ``MissingDependencyError`` unless the packages that an export needs are installed."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingDependencyError(package, "onnx")


def export_onnx(encoder: Encoder, output: str | Path) -> OnnxExport:
    """Write both towers, the processor's files, ``onnx.json`` and a README that says how to run it.

    The files are run once with onnxruntime, on other pictures and sentences than the traced ones
    and another number of them, and compared with the model.

    Args:
        encoder: what is written; its id is recorded.
        output: a folder that does not exist yet, or is empty; whole at the end, or not there.

    Raises:
        MissingDependencyError: onnx, onnxruntime or onnxscript is not installed.
        UnsupportedError: a side cannot be expressed in ONNX, or gives other vectors there; or the
            model scores pairs by more than their cosine.
        OutputExistsError: there is something at ``output``.
    """
    if encoder.guided:
        raise UnsupportedError(
            f"{encoder.id or 'The model'} scores by text_guidance {encoder.guided!r}, and the "
            "files would give a cosine. Use it with PyTorch, or export a model without."
        )
    require_onnx()
    with new_folder(output) as folder, evaluating(encoder.model):
        export = OnnxExport(
            model=encoder.id,
            fingerprint=encoder.fingerprint,
            image=_export_images(encoder, folder),
            text=_export_texts(encoder, folder),
        )
        encoder.processor.save_pretrained(folder)
        manifest = json.dumps(asdict(export), indent=2)
        (folder / MANIFEST_FILE).write_text(f"{manifest}\n", encoding="utf-8")
        own_code = any(folder.glob("*.py"))
        (folder / README_FILE).write_text(_readme(export, own_code=own_code), encoding="utf-8")
    return export


def _export_images(encoder: Encoder, folder: Path) -> Tower:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (_TRACED + _CHECKED, 8, 8, 3), generator=generator)
    pictures = [
        Image.fromarray(cells.to(torch.uint8).numpy()).resize((_SIDE, _SIDE)) for cells in coarse
    ]
    traced = encoder.inputs(pictures[:_TRACED])
    others = encoder.inputs(pictures[_TRACED:])
    return _export(encoder.model, "get_image_features", traced, others, file=folder / IMAGE_FILE)


def _export_texts(encoder: Encoder, folder: Path) -> Tower:
    traced = encoder.tokens(_SENTENCES[:_TRACED])
    others = encoder.tokens(_SENTENCES[:_CHECKED])
    alone = encoder.tokens([_SHORT])["input_ids"]
    return _export(
        encoder.model,
        "get_text_features",
        traced,
        others,
        file=folder / TEXT_FILE,
        any_length=alone.shape[1] != traced["input_ids"].shape[1],
    )


class _Side(nn.Module):
    """One side of a dual encoder as a network of tensors in, unit vectors out."""

    def __init__(self, model: nn.Module, method: str, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.method, self.names = model, method, names

    def forward(self, *values: Tensor) -> Tensor:
        """Embed one batch as (B, D)."""
        inputs = dict(zip(self.names, values, strict=True))
        return unit_vectors(getattr(self.model, self.method)(**inputs))


def _export(
    model: nn.Module,
    method: str,
    traced: dict[str, Tensor],
    others: dict[str, Tensor],
    *,
    file: Path,
    any_length: bool = False,
) -> Tower:
    """Trace one side with one batch, write it, and compare it on another."""
    names = list(traced)
    side = _Side(model, method, names).eval()
    axes = {0: "batch", 1: "length"} if any_length else {0: "batch"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about what it will change
            program: Any = torch.onnx.export(
                side,
                tuple(traced.values()),
                input_names=names,
                output_names=[OUTPUT],
                dynamic_shapes=(tuple(axes for _ in names),),
                custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UnsupportedError(
            f"{type(model).__name__}.{method} cannot be exported to ONNX: {reason}"
        ) from error
    weights = sum(value.nbytes for value in model.state_dict().values())
    program.save(file, external_data=weights > _LARGEST_FILE)
    expected = side(*others.values())
    runtime = import_module("onnxruntime")
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(None, {key: value.numpy(force=True) for key, value in others.items()})[0]
    difference = (torch.from_numpy(found) - expected).abs().max().item()
    if not difference <= TOLERANCE:
        raise UnsupportedError(
            f"{type(model).__name__}.{method} gives other vectors in ONNX: they differ by "
            f"{difference:.4f}, more than {TOLERANCE}. Nothing was written; use PyTorch."
        )
    inputs = {node.name: (node.type, list(node.shape)) for node in session.get_inputs()}
    return Tower(file.name, inputs, expected.shape[1], difference)


def _stable_sort(
    values: Any,  # noqa: ANN401 - a symbolic tensor of onnxscript
    *,
    stable: bool = False,
    dim: int = -1,
    descending: bool = False,
) -> Any:  # noqa: ANN401
    """Translate ``sort(stable=True)``, which the exporter lacks: ONNX breaks ties by position."""
    ops = import_module("onnxscript").opset18
    size = ops.Gather(ops.Shape(values), ops.Constant(value_ints=[dim]))
    return ops.TopK(values, size, axis=dim, largest=int(descending), sorted=1)


def _readme(export: OnnxExport, *, own_code: bool) -> str:
    rows = "\n".join(
        f"| `{tower.file}` | `{key}` | {kind} | {' x '.join(map(str, shape))} |"
        for tower in (export.image, export.text)
        for key, (kind, shape) in tower.inputs.items()
    )
    length = export.text.inputs["input_ids"][1][1]
    padding = f'"max_length", max_length={length}' if isinstance(length, int) else "True"
    trust = ", trust_remote_code=True" if own_code else ""
    return f"""\
# {export.model or "A dual encoder"} in ONNX

Made by `rsctir export`. Pictures and sentences become unit vectors (`{OUTPUT}`, B x \
{export.image.dimension}); the product of two is their cosine.

| File | Input | Type | Shape |
| --- | --- | --- | --- |
{rows}

```python
import onnxruntime
from transformers import AutoProcessor


def embed(file, inputs):
    session = onnxruntime.InferenceSession(file)
    return session.run(None, {{node.name: inputs[node.name] for node in session.get_inputs()}})[0]


processor = AutoProcessor.from_pretrained("."{trust})
words = processor.tokenizer(texts, padding={padding}, truncation=True, return_tensors="np")
text_vectors = embed("{TEXT_FILE}", words)
image_vectors = embed("{IMAGE_FILE}", processor(images=pictures, return_tensors="np"))
cosines = image_vectors @ text_vectors.T
```

{_DEPTH[own_code]}

Largest difference from PyTorch when this was written: {export.image.largest_difference:.1e} for \
pictures, {export.text.largest_difference:.1e} for sentences.
"""
