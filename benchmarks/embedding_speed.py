"""How fast pictures become embeddings, from JPEG files to shards, against what bounds it.

    python benchmarks/embedding_speed.py --data data/ucm_captions/test
    python benchmarks/embedding_speed.py --pictures 40 --blocks 1 --growth --json small.json

For each of our two families: ``embed_pictures`` from files on disk to a finished folder, which is
to keep 0.90 of the pace of the bare tower on ready tensors, and to be at least 1.6 times as fast as
a CLIP ViT-B/32 of transformers (random weights, same files, a plain loop with its fast image
processor) and of sentence-transformers. The pictures of ``--data``, or the drawn scenes, are
repeated as files of their own until there are enough: each copy ends with other bytes that no
decoder reads, so that it is decoded and embedded as any other.

What is compared takes turns within one process; the first turn is not counted. Ratios are taken
within a turn, and their median decides. Freed memory is kept (``rsctir_hf.allocation``), as the
command line does. Where the time of a picture goes is measured alone, in processor time, so that it
adds up. The growth curve embeds up to ten thousand pictures. Some 20 minutes on two quiet cores,
most of it growth; writes ``results/embedding_speed.json``.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
)

from rsctir_hf.allocation import keep_freed_memory
from rsctir_hf.embedding.encode import default_batch_size
from rsctir_hf.embedding.encoder import LoadedModel, load_dual_encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import FilePicture, folder_pictures
from rsctir_hf.evaluation import library_versions
from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.sample import sample_folder

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ("cmpagl-rs", "galr-rs")
BARE_TARGET, CLIP_TARGET = 0.90, 1.6
GROWTH = (100, 1_000, 10_000)
CLIP_BATCH = 32
CLIPS = ("transformers", "sentence-transformers")
PROFILED = 64  # pictures whose stages are timed one by one


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Pictures per second, end to end.")
    parser.add_argument("--data", type=Path, default=None, help="folder of JPEGs; else drawn ones")
    parser.add_argument("--models", type=Path, default=ROOT / "checkpoints")
    parser.add_argument("--pictures", type=int, default=256, help="in each turn")
    parser.add_argument("--blocks", type=int, default=3, help="counted turns")
    parser.add_argument("--growth", type=int, nargs="*", default=list(GROWTH))
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "embedding_speed.json")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    sources = list_images(options.data or sample_folder())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        copy_files(sources, place / "pictures", count=max([options.pictures, *options.growth]))
        found = measure(
            {name: load_dual_encoder(options.models / name) for name in FAMILIES},
            folder_pictures(place / "pictures"),
            place,
            count=options.pictures,
            blocks=options.blocks,
            growth=options.growth,
        )
    found |= {"data": options.data.name if options.data else "drawn scenes"}
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for line in report(found):
        print(line)


def copy_files(sources: Sequence[Path], folder: Path, *, count: int) -> None:
    """Write ``count`` files that differ in their last bytes, repeating the sources."""
    folder.mkdir()
    for number, source in enumerate(islice(cycle(sources), count)):
        copy = folder / f"{number:06d}{source.suffix}"
        shutil.copyfile(source, copy)
        with copy.open("ab") as file:
            file.write(number.to_bytes(4, "big"))


def measure(
    families: dict[str, LoadedModel],
    pictures: Sequence[FilePicture],
    place: Path,
    *,
    count: int,
    blocks: int,
    growth: Sequence[int],
) -> dict[str, Any]:
    """Let everything take turns over ``count`` pictures, then embed growing numbers of them."""
    chosen = pictures[:count]
    paths = [picture.path for picture in chosen]
    tasks: dict[str, Callable[[], object]] = {}
    for name, loaded in families.items():
        ready = ready_tensors(loaded, paths)
        tasks[f"{name} bare"] = partial(bare_tower, loaded.model, ready)
        tasks[f"{name} end to end"] = partial(end_to_end, loaded, chosen, place)
    clip, processor = CLIPModel(CLIPConfig()).eval(), clip_processor()
    tasks["clip transformers"] = lambda: plain_clip(clip, processor.image_processor, paths)
    encoder = sentence_transformer(clip, processor, place / "clip")
    tasks["clip sentence-transformers"] = lambda: encoder.encode(
        [str(path) for path in paths], batch_size=CLIP_BATCH, show_progress_bar=False
    )
    spent = turn_about(tasks, blocks)
    fastest_clip = [
        min(turn) for turn in zip(*(spent[f"clip {name}"] for name in CLIPS), strict=True)
    ]
    return {
        "pictures": count,
        "pictures_per_second": {
            name: round(count / statistics.median(seconds), 2) for name, seconds in spent.items()
        },
        "of_the_bare_tower": {
            name: times_as_fast(spent[f"{name} end to end"], spent[f"{name} bare"])
            for name in families
        },
        "bare_target": BARE_TARGET,
        "times_as_fast_as_clip": {
            name: times_as_fast(spent[f"{name} end to end"], fastest_clip) for name in families
        },
        "clip_target": CLIP_TARGET,
        "milliseconds_of_a_picture": {
            name: stages(loaded, paths[:PROFILED]) for name, loaded in families.items()
        },
        "growth": {
            name: [growth_point(loaded, pictures[:size], place) for size in growth]
            for name, loaded in families.items()
        },
        "threads": torch.get_num_threads(),
        "versions": library_versions(),
    }


def turn_about(tasks: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Return the seconds of each task in each turn; one turn that is not counted comes first."""
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(turns + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:
                spent[name].append(time.perf_counter() - start)
    return spent


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over the turns of how many times as fast ours was in the same turn."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return round(statistics.median(ratios), 3)


def ready_tensors(loaded: LoadedModel, paths: Sequence[Path]) -> list[Tensor]:
    """Return the model inputs of the pictures, batch by batch."""
    size = default_batch_size(loaded.model)
    return [
        loaded.processor(
            images=[read_image(path) for path in paths[at : at + size]], return_tensors="pt"
        )["pixel_values"]
        for at in range(0, len(paths), size)
    ]


@torch.no_grad()
def bare_tower(model: Any, batches: Sequence[Tensor]) -> None:  # noqa: ANN401
    """Run the picture tower over tensors that are ready."""
    for batch in batches:
        model.get_image_features(pixel_values=batch)


def end_to_end(loaded: LoadedModel, pictures: Sequence[FilePicture], place: Path) -> None:
    """Embed pictures from their files into a new folder, and remove it."""
    folder = place / "embeddings"
    report = embed_pictures(loaded, pictures, folder)
    if report.embedded != len(pictures):
        raise RuntimeError(f"{report.embedded} of {len(pictures)} pictures were embedded.")
    shutil.rmtree(folder)


def clip_processor() -> CLIPProcessor:
    """Return CLIP's image processor, with a tokenizer that nobody asks anything."""
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[UNK]"
    )
    return CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=tokenizer)


@torch.no_grad()
def plain_clip(model: CLIPModel, processor: CLIPImageProcessor, paths: Sequence[Path]) -> None:
    """Embed pictures with CLIP as its users do: open, process, run, scale to unit length."""
    for at in range(0, len(paths), CLIP_BATCH):
        images = [Image.open(path).convert("RGB") for path in paths[at : at + CLIP_BATCH]]
        inputs = processor(images=images, return_tensors="pt")
        F.normalize(model.get_image_features(**inputs).pooler_output, dim=-1)


def sentence_transformer(
    model: CLIPModel, processor: CLIPProcessor, folder: Path
) -> SentenceTransformer:
    """Load the same CLIP with sentence-transformers."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return SentenceTransformer(str(folder), device="cpu")


def stages(loaded: LoadedModel, paths: Sequence[Path]) -> dict[str, float]:
    """Return the processor milliseconds of a picture in each stage, one after another."""
    size = default_batch_size(loaded.model)
    files = [path.read_bytes() for path in paths]
    decoded = [read_image(file) for file in files]
    ready = ready_tensors(loaded, paths)
    bare_tower(loaded.model, ready[:1])
    tasks = {
        "decode": lambda: [read_image(file) for file in files],
        "resize_and_normalise": lambda: [
            loaded.processor(images=decoded[at : at + size], return_tensors="pt")
            for at in range(0, len(decoded), size)
        ],
        "tower": lambda: bare_tower(loaded.model, ready),
    }
    return {
        name: round(processor_seconds(task) / len(paths) * 1e3, 2) for name, task in tasks.items()
    }


def processor_seconds(task: Callable[[], object]) -> float:
    """Return the processor time of this process, all its threads, for one task."""
    start = time.process_time()
    task()
    return time.process_time() - start


def growth_point(
    loaded: LoadedModel, pictures: Sequence[FilePicture], place: Path
) -> dict[str, float]:
    """Embed some pictures once; return how many, and the seconds it took."""
    start = time.perf_counter()
    end_to_end(loaded, pictures, place)
    seconds = time.perf_counter() - start
    return {"pictures": len(pictures), "seconds": round(seconds, 2)}


def report(found: dict[str, Any]) -> list[str]:
    """Return the results as lines of text, each ratio beside its limit."""
    lines = [f"{found['pictures']} pictures ({found['data']}), {found['threads']} threads"]
    lines += [
        f"{name:<28}{rate:8.2f} pictures/s" for name, rate in found["pictures_per_second"].items()
    ]
    for name, share in found["of_the_bare_tower"].items():
        times = found["times_as_fast_as_clip"][name]
        spent = found["milliseconds_of_a_picture"][name]
        lines.append(
            f"{name}: {share:.2f} of the bare tower (limit {found['bare_target']:.2f}), "
            f"{times:.2f} times CLIP (limit {found['clip_target']}); processor ms of a picture: "
            + ", ".join(f"{stage} {value}" for stage, value in spent.items())
        )
        lines += [
            f"  {point['pictures']:>6} pictures in {point['seconds']:9.1f} s, "
            f"{point['pictures'] / point['seconds']:.1f} a second"
            for point in found["growth"][name]
        ]
    return lines


if __name__ == "__main__":
    main()
