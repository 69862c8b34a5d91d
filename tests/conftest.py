"""Fixtures of several test modules: real data, the command line, a tiny CLIP, simple pictures."""

import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
)

from rsctir_cli.main import main
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.cache import NO_CACHE
from rsctir_hf.loading.checks import weights_fingerprint
from tests.tiers import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 - hooks

# No test meets what another left in the user's cache; tests of the cache have one of their own.
os.environ[NO_CACHE] = "1"

WORDS = ("a", "the", "boats", "moored", "beside", "pier", "green", "tennis", "courts", "airport")
WORDS += ("with", "many", "planes", "river")
COLOURS = ("red", "green", "blue", "yellow", "white", "black", "purple", "orange")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def development_data():
    """The folder of real data: $RSCTIR_DEV_DATA, or ../shared/data beside the checkout."""
    named = os.environ.get("RSCTIR_DEV_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data absent: set RSCTIR_DEV_DATA to the folder that holds ucm_captions")
    return folder


@pytest.fixture(scope="session")
def checkpoint():
    """Return the folder of a shipped model."""

    def find(name):
        folder = ROOT / "checkpoints" / name
        if not (folder / "model.safetensors").is_file():
            pytest.skip(f"checkpoint absent: {name} is not in this checkout")
        return folder

    return find


@pytest.fixture(scope="session")
def all_checkpoints(checkpoint):
    """Return the folders of all shipped models."""
    return [checkpoint(name) for name in ("cmpagl-rs", "galr-rs", "overhead-rsod")]


@pytest.fixture
def quick_streams(monkeypatch):
    """Let datasets go on at once after a pass over Parquet files, where it would sleep for 5 s."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)


@pytest.fixture
def rsctir(monkeypatch, capsys):
    """Run a command; return exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rsctir", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A user's cache that is empty."""
    monkeypatch.delenv(NO_CACHE)
    monkeypatch.setattr("rsctir_hf.files.cache.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "rsctir_hf"


@pytest.fixture
def read_only():
    """A folder that this process may enter and not write to, as a user whom permissions bind."""
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0o555)
        os.chmod(folder, 0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield closed
        finally:
            os.seteuid(user)


@pytest.fixture
def canary():
    """A server on loopback that remembers who asked it for what."""
    asked = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()


@pytest.fixture
def picture():
    """A 32 x 24 px RGB picture without any symmetry."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((32, 24), Image.Resampling.NEAREST)


@pytest.fixture(scope="session")
def tiny_clip_processor():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[EOS]": 2}
    vocabulary |= {word: number for number, word in enumerate(WORDS, start=3)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A [EOS]", special_tokens=[("[EOS]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        eos_token="[EOS]",
        model_max_length=12,
    )
    size = {"height": 32, "width": 32}
    image_processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    return CLIPProcessor(image_processor=image_processor, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def tiny_clip(tiny_clip_processor):
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = small | {
        "vocab_size": len(tiny_clip_processor.tokenizer),
        "max_position_embeddings": 12,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "bos_token_id": 0,
    }
    vision = small | {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(projection_dim=16, text_config=text, vision_config=vision)
    model = CLIPModel(config).eval()
    made = weights_fingerprint(model)
    yield model
    # It serves all tests: one that changes it takes a copy.
    assert weights_fingerprint(model) == made


@pytest.fixture(scope="session")
def tiny_encoder(tiny_clip, tiny_clip_processor):
    return Encoder(tiny_clip, tiny_clip_processor)


@pytest.fixture
def clip_folder(tmp_path, tiny_clip, tiny_clip_processor):
    folder = tmp_path / "tiny-clip"
    tiny_clip.save_pretrained(folder)
    tiny_clip_processor.save_pretrained(folder)
    return folder


@pytest.fixture
def picture_folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in COLOURS:
        Image.new("RGB", (40, 40), colour).save(folder / f"{colour}.png")
    return folder


@pytest.fixture
def captioned_rows():
    captions = [
        ["boats moored beside a pier", "Many boats."],
        ["green tennis courts", "many boats"],
        ["an airport with many planes", "planes", "the airport"],
        ["a river"],
    ]
    return [
        {"image": Image.new("RGB", (40, 40), colour), "captions": texts}
        for colour, texts in zip(COLOURS, captions, strict=False)
    ]
