"""How fast JPEG files become vectors, alone and beside a busy process, against what bounds it.

    python benchmarks/embedding_speed.py --data data/ucm_captions/test
    python benchmarks/embedding_speed.py --pictures 40 --blocks 1 --growth --output small.json

For each of our two models ``Retriever.index`` from plain Python, no setting made. It is to be at
least 1.1 times as fast as the bare tower (``AutoModel`` on ready tensors, all threads on one batch,
freed memory kept), alone; at most 1.8 times slower beside a process that keeps one processor busy;
and at least 1.6 times as fast as a CLIP ViT-B/32 of transformers (random weights, same files, a
plain loop with its fast image processor), with freed memory kept or not, whichever is faster there.
What a user of ``AutoModel`` gains by ``channels_last`` and kept memory, at batch 16, stands beside.

Freed memory is kept by glibc's own variables, so what has them set runs in a process of its own.
All takes turns, alone and then beside the busy process; the first turn is not counted. Ratios are
taken within a turn, and their median decides. Where the time of a picture goes is measured alone in
one thread, in processor time, so that it adds up. The growth curve embeds growing numbers of
pictures into a folder. The pictures of ``--data``, or the drawn scenes, are repeated as files of
their own until there are enough: each copy ends with other bytes that no decoder reads, so that it
is decoded and embedded as any other. Some 4 minutes on two quiet cores, and 5 more for a growth to
ten thousand; writes ``results/embedding_speed.json``.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image
from report import (
    CHECKPOINTS,
    MODELS,
    flags,
    median_ratio,
    run,
    save,
    settings,
    timed,
    turn_about,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, CLIPConfig, CLIPImageProcessor, CLIPModel

from rsctir_hf.embedding.encode import default_batch_size, embed_inputs
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import folder_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.sample import sample_folder
from rsctir_hf.search.retriever import Retriever

BARE_TARGET, BESIDE_TARGET, CLIP_TARGET = 1.1, 1.8, 1.6
GROWTH = (100, 1_000, 10_000)
BARE_BATCH, CARD_BATCH, CLIP_BATCH = 8, 16, 32
PROFILED = 64  # pictures whose stages are timed one by one
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
INDEX, BARE = "index", "bare, freed memory kept"
PLAIN, TUNED = "AutoModel", "AutoModel, channels last, freed memory kept"
CLIPS = ("clip", "clip, freed memory kept")
BUSY = "while True: pass"

Seconds = dict[str, list[float]]
Work = Callable[[str, Sequence[Path]], Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "embedding_speed.json")
    parser.add_argument("--data", type=Path, default=None, help="folder of JPEGs; else drawn ones")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS)
    parser.add_argument("--pictures", type=int, default=96, help="in each turn")
    parser.add_argument("--blocks", type=int, default=3, help="counted turns")
    parser.add_argument("--growth", type=int, nargs="*", default=list(GROWTH))
    options = parser.parse_args(arguments)
    sources = list_images(options.data or sample_folder())
    models = {name: str(options.checkpoints / name) for name in MODELS}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "pictures"
        copy_files(sources, place, count=max([options.pictures, *options.growth]))
        with process() as plain, process(KEPT) as kept:
            works = tasks(plain, kept, models, list_images(place)[: options.pictures])
            found = summarise(take_turns(works, options.blocks), options.pictures)
            profiled = [path.read_bytes() for path in list_images(place)[:PROFILED]]
            found["milliseconds_of_a_picture"] = {
                name: plain(stages, model, profiled) for name, model in models.items()
            }
            found["growth"] = {
                name: [plain(growth_point, model, place, size) for size in options.growth]
                for name, model in models.items()
            }
    found |= {"data": options.data.name if options.data else "drawn scenes"}
    save(options.output, found | {"settings": settings()})


def copy_files(sources: Sequence[Path], folder: Path, *, count: int) -> None:
    """Write ``count`` files that differ in their last bytes, repeating the sources."""
    folder.mkdir()
    for number, source in enumerate(islice(cycle(sources), count)):
        copy = folder / f"{number:06d}{source.suffix}"
        shutil.copyfile(source, copy)
        with copy.open("ab") as file:
            file.write(number.to_bytes(4, "big"))


@contextmanager
def process(variables: Mapping[str, str] | None = None) -> Iterator[Callable[..., Any]]:
    """Start a process with further environment variables; yield what calls functions there."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with patch.dict(os.environ, variables or {}):
            pool.submit(os.getpid).result()  # it has started, and read them
        yield lambda function, *given: pool.submit(function, *given).result()


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one processor busy with a process of its own."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as neighbour:
        try:
            yield
        finally:
            neighbour.kill()


def tasks(
    plain: Callable[..., Any],
    kept: Callable[..., Any],
    models: Mapping[str, str],
    paths: Sequence[Path],
) -> dict[str, Callable[[], float]]:
    """Return by name what takes turns; each returns the seconds it took where it ran."""

    def task(where: Callable[..., Any], work: Work, model: str = "") -> Callable[[], float]:
        return partial(where, seconds_of, work, model, paths)

    found = {CLIPS[0]: task(plain, plain_clip), CLIPS[1]: task(kept, plain_clip)}
    for name, model in models.items():
        found[f"{name} {BARE}"] = task(kept, bare_tower, model)
        found[f"{name} {INDEX}"] = task(plain, index, model)
        found[f"{name} {PLAIN}"] = task(plain, auto_model, model)
        found[f"{name} {TUNED}"] = task(kept, tuned_auto_model, model)
    return found


def take_turns(works: Mapping[str, Callable[[], float]], blocks: int) -> dict[str, Seconds]:
    """Let all take turns, alone and beside a busy process; what cards say is measured alone."""
    spent: dict[str, Seconds] = {"alone": {}, "beside": {}}
    for turn in range(blocks + 1):
        for condition, seconds in spent.items():
            chosen = [
                name for name in works if condition == "alone" or not name.endswith((PLAIN, TUNED))
            ]
            with busy_process() if condition == "beside" else nullcontext():
                for name in chosen:
                    took = works[name]()
                    if turn:
                        seconds.setdefault(name, []).append(took)
    return spent


def summarise(spent: Mapping[str, Seconds], count: int) -> dict[str, Any]:
    """Return rates, and the ratios with what they are to reach."""
    clip = {
        condition: [min(turn) for turn in zip(*(seconds[each] for each in CLIPS), strict=True)]
        for condition, seconds in spent.items()
    }
    alone, beside = spent["alone"], spent["beside"]
    bare, clips = {}, {}
    for condition, seconds in spent.items():
        bare[condition] = {
            name: median_ratio(seconds[f"{name} {BARE}"], seconds[f"{name} {INDEX}"])
            for name in MODELS
        }
        clips[condition] = {
            name: median_ratio(clip[condition], seconds[f"{name} {INDEX}"]) for name in MODELS
        }
    return {
        "pictures": count,
        "pictures_per_second": {
            condition: {
                name: round(count / statistics.median(each), 2) for name, each in seconds.items()
            }
            for condition, seconds in spent.items()
        },
        "of_the_bare_tower": bare["alone"],
        "of_the_bare_tower_beside": bare["beside"],
        "bare_target": BARE_TARGET,
        "times_slower_beside": {
            name: median_ratio(beside[f"{name} {INDEX}"], alone[f"{name} {INDEX}"])
            for name in MODELS
        },
        "beside_target": BESIDE_TARGET,
        "times_as_fast_as_clip": clips["alone"],
        "times_as_fast_as_clip_beside": clips["beside"],
        "clip_target": CLIP_TARGET,
    }


def seconds_of(work: Work, model: str, paths: Sequence[Path]) -> float:
    """Return the seconds that ``work`` takes, once what it needs is loaded."""
    work(model, paths[:0])
    return timed(partial(work, model, paths))[0]


def index(model: str, paths: Sequence[Path]) -> None:
    """Index pictures from their files as a user of the library does."""
    gallery = retriever(model).with_empty_gallery()
    if gallery.index(list(paths)).indexed != len(paths):
        raise RuntimeError(f"Not all of the {len(paths)} pictures were indexed.")


def bare_tower(model: str, paths: Sequence[Path]) -> None:
    """Run the picture tower as ``AutoModel`` loads it over tensors that are ready."""
    run_tower(retriever(model).encoder.model, ready_tensors(model, tuple(paths), BARE_BATCH))


def auto_model(model: str, paths: Sequence[Path]) -> None:
    """Do the same with larger batches."""
    run_tower(retriever(model).encoder.model, ready_tensors(model, tuple(paths), CARD_BATCH))


def tuned_auto_model(model: str, paths: Sequence[Path]) -> None:
    """Do so with a model whose convolutions lie channels last."""
    run_tower(channels_last(model), ready_tensors(model, tuple(paths), CARD_BATCH))


@torch.no_grad()
def plain_clip(_: str, paths: Sequence[Path]) -> None:
    """Embed pictures with CLIP as its users do: open, process, run, scale to unit length."""
    model, processor = clip()
    for at in range(0, len(paths), CLIP_BATCH):
        images = [Image.open(path).convert("RGB") for path in paths[at : at + CLIP_BATCH]]
        inputs = processor(images=images, return_tensors="pt")
        F.normalize(model.get_image_features(**inputs).pooler_output, dim=-1)


@torch.no_grad()
def run_tower(model: Any, batches: Sequence[Tensor]) -> None:  # noqa: ANN401
    """Run the picture tower over batches."""
    for batch in batches:
        model.get_image_features(pixel_values=batch)


@cache
def retriever(model: str) -> Retriever:
    """Load a model once in this process."""
    return Retriever.from_pretrained(model, bank=())


@cache
def channels_last(model: str) -> nn.Module:
    """Load a model once more, in the other memory format."""
    loaded: nn.Module = AutoModel.from_pretrained(model).eval()
    return nn.Module.to(loaded, memory_format=torch.channels_last)


@cache
def clip() -> tuple[CLIPModel, CLIPImageProcessor]:
    """Return a CLIP ViT-B/32 with random weights, and its image processor."""
    return CLIPModel(CLIPConfig()).eval(), CLIPImageProcessor()


@cache
def ready_tensors(model: str, paths: Sequence[Path], size: int) -> list[Tensor]:
    """Return the model inputs of pictures, batch by batch."""
    processor = retriever(model).encoder.processor
    return [
        processor(images=[read_image(path) for path in paths[at : at + size]], return_tensors="pt")[
            "pixel_values"
        ]
        for at in range(0, len(paths), size)
    ]


def stages(model: str, files: Sequence[bytes]) -> dict[str, float]:
    """Return the processor milliseconds of a picture in each stage, one after another."""
    encoder = retriever(model).encoder
    size = default_batch_size(encoder.model)
    decoded = [read_image(file) for file in files]
    batches = [decoded[at : at + size] for at in range(0, len(decoded), size)]
    ready = [encoder.inputs(batch) for batch in batches]
    tower = encoder.tower
    works: dict[str, Any] = {
        "decode": lambda: [read_image(file) for file in files],
        "resize_and_normalise": lambda: [
            encoder.processor(images=batch, return_tensors="pt") for batch in batches
        ],
        "tower": lambda: [embed_inputs(tower, inputs) for inputs in ready],
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spent = turn_about(works, 1, clock=time.process_time)
    torch.set_num_threads(threads)
    return {name: round(1e3 * sum(each) / len(files), 2) for name, each in spent.items()}


def growth_point(model: str, folder: Path, size: int) -> dict[str, float]:
    """Embed some pictures once into a folder; return how many, and the seconds it took."""
    encoder, pictures = Encoder.from_pretrained(model), folder_pictures(folder)[:size]
    with tempfile.TemporaryDirectory() as output:
        store = EmbeddingStore(Path(output) / "embeddings", encoder.made_by)
        seconds, report = timed(partial(embed_pictures, encoder, pictures, store))
    if report.embedded != size:
        raise RuntimeError(f"{report.embedded} of {size} pictures were embedded.")
    return {"pictures": size, "seconds": round(seconds, 2)}


if __name__ == "__main__":
    run(main)
