"""A processor by itself sees of any picture what an index of it saw, in both families."""

import base64
import io
import json
import subprocess
import sys
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertTokenizer

from rsctir_hf.files.pictures import read_image
from rsctir_hf.models.cmpagl import CMPAGLProcessor
from rsctir_hf.models.galr import GaLRProcessor, build_word_tokenizer
from tests.files.deep_files import png16, reflectances, write_tiff

DEEP = reflectances()
EIGHT = (DEEP // 5).astype(np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.fixture(params=["cmpagl", "galr"])
def processor(request):
    if request.param == "galr":
        return GaLRProcessor.build(build_word_tokenizer(["a river"]), image_size=16)
    words = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "river": 4})
    return CMPAGLProcessor.build(words, image_size=16)


def seen(processor, images, **options):
    return processor(images=images, return_tensors="pt", **options)["pixel_values"]


def file_of(picture, **options):
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def opened(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    "source",
    [
        lambda: Image.fromarray(DEEP[..., 0]),
        lambda: Image.fromarray(DEEP[..., 0].astype(np.int32)),
        lambda: Image.fromarray(DEEP[..., 0] / np.float32(3000)),
        lambda: opened(png16(DEEP)),
        lambda: opened(png16(DEEP[..., :1])),
        lambda: opened(png16(np.dstack([DEEP, DEEP[..., 0]]))),
        lambda: opened(file_of(Image.fromarray(EIGHT), exif=TURNED)),
        lambda: Image.fromarray(np.dstack([EIGHT, EIGHT[..., 0]])),
        lambda: Image.fromarray(EIGHT).convert("P"),
        lambda: Image.fromarray(EIGHT).convert("CMYK"),
        lambda: Image.fromarray(EIGHT),
        lambda: DEEP,
        lambda: DEEP[..., 0],
        lambda: DEEP.astype(np.float32),
        lambda: DEEP / np.float32(1200),
        lambda: np.where(DEEP < 100, np.nan, DEEP),
        lambda: EIGHT,
        lambda: EIGHT[..., 0],
        lambda: EIGHT > 100,
    ],
    ids=lambda source: str(source().__class__.__name__),
)
def test_a_picture_is_read_as_an_index_reads_it(processor, source):
    expected = seen(processor, read_image(source()))
    torch.testing.assert_close(seen(processor, source()), expected, rtol=0, atol=0)
    torch.testing.assert_close(seen(processor, [source()] * 2), expected.expand(2, -1, -1, -1))


def test_channels_may_come_first_and_pictures_in_one_array_or_tensor(processor):
    expected = seen(processor, read_image(DEEP))
    first = np.moveaxis(DEEP, 2, 0)
    both = expected.expand(2, -1, -1, -1)
    for given, pixels in ((first, expected), (np.stack([first, first]), both)):
        torch.testing.assert_close(seen(processor, given), pixels, rtol=0, atol=0)
        tensor = torch.from_numpy(given.astype(np.int32))
        torch.testing.assert_close(seen(processor, tensor), pixels, rtol=0, atol=0)


def test_floats_that_nobody_is_to_scale_stay_as_they_are(processor):
    shares = EIGHT.astype(np.float32) / 255
    expected = seen(processor, EIGHT)
    for options in ({"do_rescale": False}, {"images_kwargs": {"do_rescale": False}}):
        difference = seen(processor, shares, **options) - expected
        assert difference.abs().max() < 0.02  # of rounding when it is resized


@pytest.fixture
def address(tmp_path):
    """Where the files of the test's folder are served, on this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("kind", ["path", "text", "data", "address"])
def test_files_are_read_as_an_index_reads_them(processor, kind, tmp_path, address):
    (tmp_path / "a.png").write_bytes(png16(DEEP))
    given = {
        "path": tmp_path / "a.png",
        "text": str(tmp_path / "a.png"),
        "data": f"data:image/png;base64,{base64.b64encode(png16(DEEP)).decode()}",
        "address": f"{address}/a.png",
    }[kind]
    torch.testing.assert_close(seen(processor, given), seen(processor, read_image(DEEP)))


def test_what_pillow_cannot_read_rightly_is_refused(processor, tmp_path):
    path = write_tiff(tmp_path / "chip.tif", DEEP)
    with pytest.raises(ValueError, match=r"chip\.tif is no picture that Pillow.*rasterio"):
        seen(processor, str(path))
    path = write_tiff(tmp_path / "rgb.tif", DEEP, photometric="RGB")
    for given in (str(path), Image.open(path)):
        with pytest.raises(ValueError, match=r"16 bits a channel.*array"):
            seen(processor, given)


@pytest.mark.slow
def test_a_saved_processor_reads_the_same_without_this_package(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    code = """
import json, sys, numpy as np
from transformers import AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
deep = np.array(json.loads(sys.argv[2]), np.uint16)
print(float(processor(images=deep, return_tensors="pt")["pixel_values"].double().sum()))
assert not [name for name in sys.modules if name.startswith("rsctir_hf")]
"""
    small = DEEP[:12, :12]
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path), json.dumps(small.tolist())],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    expected = seen(processor, read_image(small)).double().sum()
    assert float(done.stdout) == pytest.approx(float(expected), abs=1e-3)
