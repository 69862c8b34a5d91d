"""Time both towers in PyTorch and in onnxruntime, side by side and on the same threads.

    python benchmarks/onnx_export.py
    python benchmarks/onnx_export.py --models checkpoints/galr-rs --turns 5 --threads 2

Each model is exported first. Then PyTorch and onnxruntime take
turns, so that whatever else the machine does falls on both; the figure is the median. Freed
memory is kept (``rsctir_hf.allocation``), as our commands do: without it PyTorch takes about twice
as long with batches. Pictures and sentences are random numbers of the models' own sizes: what they
show does not change the time.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from report import CHECKPOINTS, MODELS, flags, run, save, settings, turn_about

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.export import Tower, export_onnx

BATCHES = {"image": (1, 32), "text": (1, 64)}
TOKENS = 12  # of a sentence, where any number is allowed


def main(arguments: Sequence[str] | None = None) -> None:
    """Time every model, print and write."""
    parser = flags(__doc__, "onnx_export.json", turns=15)
    parser.add_argument("--models", nargs="+", default=[str(CHECKPOINTS / name) for name in MODELS])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    rows = [
        row
        for model in given.models
        for row in time_model(model, turns=given.turns, threads=given.threads)
    ]
    found = {
        "turns": given.turns,
        "rows": rows,
        "settings": settings(onnxruntime=onnxruntime.__version__),
    }
    save(given.output, found)


def time_model(source: str, *, turns: int, threads: int) -> list[dict[str, Any]]:
    """Export a model and time both its towers at every batch size."""
    loaded = Encoder.from_pretrained(source)
    name = Path(source).name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    rows = []
    with tempfile.TemporaryDirectory() as place, evaluating(loaded.model):
        folder = Path(place) / "onnx"
        written = export_onnx(Encoder(loaded.model, loaded.processor, id=name), folder)
        for kind, tower in (("image", written.image), ("text", written.text)):
            session = onnxruntime.InferenceSession(
                folder / tower.file, options, providers=["CPUExecutionProvider"]
            )
            method = getattr(loaded.model, f"get_{kind}_features")
            for batch in BATCHES[kind]:
                inputs = random_inputs(tower, batch=batch)
                measured = compare(method, session, inputs, turns=turns)
                rows.append({"model": name, "tower": kind, "batch": batch, **measured})
    return rows


def random_inputs(tower: Tower, *, batch: int) -> dict[str, torch.Tensor]:
    """Return inputs of the right shapes: noise for pictures, token 5 for words, all unmasked."""
    sizes = {"batch": batch, "length": TOKENS}
    inputs = {}
    for name, (kind, shape) in tower.inputs.items():
        numbers = [size if isinstance(size, int) else sizes[size] for size in shape]
        if kind == "tensor(float)":
            inputs[name] = torch.randn(numbers, generator=torch.Generator().manual_seed(0))
        else:
            inputs[name] = torch.full(numbers, 1 if "mask" in name else 5)
    return inputs


def compare(
    method: Callable[..., Any],
    session: onnxruntime.InferenceSession,
    inputs: dict[str, torch.Tensor],
    *,
    turns: int,
) -> dict[str, float]:
    """Return the medians in milliseconds, and how many times as fast onnxruntime is."""
    arrays = {name: value.numpy() for name, value in inputs.items()}
    tasks = {"torch": lambda: method(**inputs), "onnx": lambda: session.run(None, arrays)}
    spent = turn_about(tasks, turns)
    medians = {f"{name}_ms": 1000 * statistics.median(each) for name, each in spent.items()}
    return medians | {"ratio": medians["torch_ms"] / medians["onnx_ms"]}


if __name__ == "__main__":
    run(main)
