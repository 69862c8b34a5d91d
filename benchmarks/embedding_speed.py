"""How fast pictures become embeddings, from JPEG files to shards, against what bounds it.

    python benchmarks/embedding_speed.py --data data/ucm_captions/test
    python benchmarks/embedding_speed.py --pictures 40 --blocks 1 --growth --output small.json

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

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

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
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.pipeline import embed_pictures
from rsctir_hf.embedding.records import FilePicture, folder_pictures
from rsctir_hf.embedding.store import EmbeddingStore
from rsctir_hf.files.pictures import list_images, read_image
from rsctir_hf.sample import sample_folder

BARE_TARGET, CLIP_TARGET = 0.90, 1.6
GROWTH = (100, 1_000, 10_000)
CLIP_BATCH = 32
CLIPS = ("clip transformers", "clip sentence-transformers")
PROFILED = 64  # pictures whose stages are timed one by one


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = flags(__doc__, "embedding_speed.json")
    parser.add_argument("--data", type=Path, default=None, help="folder of JPEGs; else drawn ones")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS)
    parser.add_argument("--pictures", type=int, default=256, help="in each turn")
    parser.add_argument("--blocks", type=int, default=3, help="counted turns")
    parser.add_argument("--growth", type=int, nargs="*", default=list(GROWTH))
    options = parser.parse_args(arguments)
    keep_freed_memory()
    sources = list_images(options.data or sample_folder())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        copy_files(sources, place / "pictures", count=max([options.pictures, *options.growth]))
        found = measure(
            {name: Encoder.from_pretrained(options.checkpoints / name) for name in MODELS},
            folder_pictures(place / "pictures"),
            place,
            count=options.pictures,
            blocks=options.blocks,
            growth=options.growth,
        )
    found |= {"data": options.data.name if options.data else "drawn scenes"}
    save(options.output, found)


def copy_files(sources: Sequence[Path], folder: Path, *, count: int) -> None:
    """Write ``count`` files that differ in their last bytes, repeating the sources."""
    folder.mkdir()
    for number, source in enumerate(islice(cycle(sources), count)):
        copy = folder / f"{number:06d}{source.suffix}"
        shutil.copyfile(source, copy)
        with copy.open("ab") as file:
            file.write(number.to_bytes(4, "big"))


def measure(
    families: dict[str, Encoder],
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
    tasks: dict[str, Any] = {}
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
    fastest_clip = [min(turn) for turn in zip(*(spent[name] for name in CLIPS), strict=True)]
    return {
        "pictures": count,
        "pictures_per_second": {
            name: round(count / statistics.median(seconds), 2) for name, seconds in spent.items()
        },
        "of_the_bare_tower": {
            name: median_ratio(spent[f"{name} bare"], spent[f"{name} end to end"])
            for name in families
        },
        "bare_target": BARE_TARGET,
        "times_as_fast_as_clip": {
            name: median_ratio(fastest_clip, spent[f"{name} end to end"]) for name in families
        },
        "clip_target": CLIP_TARGET,
        "milliseconds_of_a_picture": {
            name: stages(loaded, paths[:PROFILED]) for name, loaded in families.items()
        },
        "growth": {
            name: [growth_point(loaded, pictures[:size], place) for size in growth]
            for name, loaded in families.items()
        },
        "settings": settings(),
    }


def ready_tensors(loaded: Encoder, paths: Sequence[Path]) -> list[Tensor]:
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


def end_to_end(loaded: Encoder, pictures: Sequence[FilePicture], place: Path) -> None:
    """Embed pictures from their files into a new folder, and remove it."""
    folder = place / "embeddings"
    report = embed_pictures(loaded, pictures, EmbeddingStore(folder, loaded.made_by))
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


def stages(loaded: Encoder, paths: Sequence[Path]) -> dict[str, float]:
    """Return the processor milliseconds of a picture in each stage, one after another."""
    size = default_batch_size(loaded.model)
    files = [path.read_bytes() for path in paths]
    decoded = [read_image(file) for file in files]
    ready = ready_tensors(loaded, paths)
    bare_tower(loaded.model, ready[:1])
    tasks: dict[str, Any] = {
        "decode": lambda: [read_image(file) for file in files],
        "resize_and_normalise": lambda: [
            loaded.processor(images=decoded[at : at + size], return_tensors="pt")
            for at in range(0, len(decoded), size)
        ],
        "tower": lambda: bare_tower(loaded.model, ready),
    }
    spent = turn_about(tasks, 1, warm_up=0, clock=time.process_time)
    return {name: round(1e3 * sum(each) / len(paths), 2) for name, each in spent.items()}


def growth_point(loaded: Encoder, pictures: Sequence[FilePicture], place: Path) -> dict[str, float]:
    """Embed some pictures once; return how many, and the seconds it took."""
    seconds, _ = timed(partial(end_to_end, loaded, pictures, place))
    return {"pictures": len(pictures), "seconds": round(seconds, 2)}


if __name__ == "__main__":
    run(main)
