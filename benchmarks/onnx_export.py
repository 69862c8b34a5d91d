"""Time both towers in PyTorch and in onnxruntime, side by side and on the same threads.

    python benchmarks/onnx_export.py
    python benchmarks/onnx_export.py --models checkpoints/galr-rs --repeats 5 --threads 2

Each model is exported first. Then every repeat runs one after the other, PyTorch and onnxruntime
in turn, so that whatever else the machine does falls on both; the figure is the median. Freed
memory is kept (``rsctir_hf.allocation``), as our commands do: without it PyTorch takes about twice
as long with batches. Pictures and sentences are random numbers of the models' own sizes: what they
show does not change the time.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.embedding.encoder import load_dual_encoder
from rsctir_hf.evaluation import library_versions, results_json
from rsctir_hf.export import Tower, export_onnx

ROOT = Path(__file__).parents[1]
MODELS = ("checkpoints/cmpagl-rs", "checkpoints/galr-rs")
RESULTS = ROOT / "results" / "onnx_export.json"
BATCHES = {"image": (1, 32), "text": (1, 64)}
TOKENS = 12  # of a sentence, where any number is allowed


@dataclass(frozen=True)
class Timing:
    """One tower at one batch size: medians in milliseconds, and how often they were taken."""

    model: str
    tower: str
    batch: int
    torch_ms: float
    onnx_ms: float
    repeats: int

    @property
    def ratio(self) -> float:
        """How many times as fast onnxruntime is."""
        return self.torch_ms / self.onnx_ms


def main(arguments: Sequence[str] | None = None) -> None:
    """Time every model, print a table and write the results file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[str(ROOT / name) for name in MODELS])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    rows = [
        row
        for model in given.models
        for row in time_model(model, repeats=given.repeats, threads=given.threads)
    ]
    print(table(rows))
    report = {
        "threads": given.threads,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": library_versions() | {"onnxruntime": onnxruntime.__version__},
        "rows": [asdict(row) | {"ratio": row.ratio} for row in rows],
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(results_json(report), encoding="utf-8")


def time_model(source: str, *, repeats: int, threads: int) -> list[Timing]:
    """Export a model and time both its towers at every batch size."""
    loaded = load_dual_encoder(source)
    name = Path(source).name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    rows = []
    with tempfile.TemporaryDirectory() as place, evaluating(loaded.model):
        folder = Path(place) / "onnx"
        written = export_onnx(loaded.model, loaded.processor, folder, name=name)
        for kind, tower in (("image", written.image), ("text", written.text)):
            session = onnxruntime.InferenceSession(
                folder / tower.file, options, providers=["CPUExecutionProvider"]
            )
            method = getattr(loaded.model, f"get_{kind}_features")
            for batch in BATCHES[kind]:
                inputs = random_inputs(tower, batch=batch)
                medians = compare(method, session, inputs, repeats=repeats)
                rows.append(Timing(name, kind, batch, *medians, repeats))
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
    repeats: int,
) -> tuple[float, float]:
    """Return the medians of PyTorch and onnxruntime in milliseconds, after one unmeasured run."""
    arrays = {name: value.numpy() for name, value in inputs.items()}
    runs: tuple[Callable[[], Any], ...] = (
        lambda: method(**inputs),
        lambda: session.run(None, arrays),
    )
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for run, times in zip(runs, taken, strict=True):
            began = time.perf_counter()
            run()
            if repeat:
                times.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[0]), statistics.median(taken[1])


def table(rows: Sequence[Timing]) -> str:
    """Return the timings as a Markdown table."""
    lines = ["| Model | Tower | Batch | PyTorch, ms | onnxruntime, ms | Times as fast |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{row.model}` | {row.tower} | {row.batch} | {row.torch_ms:.1f} | {row.onnx_ms:.1f} | "
        f"{row.ratio:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
