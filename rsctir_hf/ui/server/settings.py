"""What the app is launched with: flags first, then environment variables, then the defaults."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rsctir_hf.errors import MissingDependencyError
from rsctir_hf.hub.space import (
    DEFAULT_MODEL,
    DEFAULT_REGION_MODEL,
    HUB_GALLERY,
    SAMPLE_GALLERY,
    SWITCH,
)
from rsctir_hf.regions.proposer import MODEL_REGIONS


@dataclass(frozen=True)
class AppSettings:
    """Everything a launch decides; visitors cannot change any of it.

    Attributes:
        model: model directory or Hub id that searches.
        model_named: ``model`` was asked for, so that an index is opened with it and not with the
            model that its record names.
        adapter: folder or Hub id of an adapter that was trained in ``model``; of an index, None
            is the one that made it.
        region_model: model that draws region graphs where ``model`` has none; None switches the
            tab off in that case.
        regions: what a GaLR model, whichever of the two it is, takes its regions from: ``model``,
            ``none``, or the folder or Hub id of an object detector.
        region_threshold: least score of a detector's regions; None is the detector's default.
        gallery: ``sample`` (drawn scenes), a folder of pictures, an index, or a Hub data set id.
        images: where the pictures of an index lie now, if they moved.
        fall_back: show the drawn scenes, and say so, where ``gallery`` cannot be opened.
        split: split of a Hub data set.
        cache: keep the vectors of gallery and bank for the next launch.
        bank: text file of sentences, one a line, or None for the one that ships.
        device: torch device of the models.
        trust_remote_code: let a Hub model run the code in its repository.
        host: address to listen on; None is loopback (or ``GRADIO_SERVER_NAME``).
        port: port to listen on; None is the first free one from 7860 (or ``GRADIO_SERVER_PORT``).
        open_browser: open the page once the server is up.
        mcp: offer the endpoints as tools of a Model Context Protocol server too.
        on_space: the app runs on a Hugging Face Space, behind its proxy.
    """

    model: str = DEFAULT_MODEL
    model_named: bool = False
    adapter: str | None = None
    region_model: str | None = DEFAULT_REGION_MODEL
    regions: str = MODEL_REGIONS
    region_threshold: float | None = None
    gallery: str = SAMPLE_GALLERY
    images: Path | None = None
    fall_back: bool = False
    split: str = "test"
    cache: bool = True
    bank: Path | None = None
    device: str = "cpu"
    trust_remote_code: bool = False
    host: str | None = None
    port: int | None = None
    open_browser: bool = False
    mcp: bool = False
    on_space: bool = False


def parse_settings(
    arguments: Sequence[str], environ: Mapping[str, str], *, root: Path
) -> AppSettings:
    """Read the launch settings.

    Args:
        arguments: command line without the program's name.
        environ: environment variables: those of ``VARIABLES``, and ``SPACE_ID``, which a Space
            sets: it makes ``HUB_GALLERY`` the default gallery.
        root: folder that the default checkpoints lie below.

    Raises:
        SystemExit: an unknown flag, a value of the wrong kind, or a package that is not there
            (argparse prints which).
    """
    parser = _parser(environ, root)
    flags = vars(parser.parse_args(list(arguments)))
    given = {name: value for name, value in flags.items() if value is not None}
    for name, variable in (("mcp", "RSCTIR_MCP"), ("no_cache", "RSCTIR_NO_CACHE")):
        switch = environ.get(variable, "").lower()
        if switch not in SWITCH:
            parser.error(f"{variable} is {environ[variable]!r}; expected 1 or 0.")
        given[name] = given[name] or SWITCH[switch]
    given["cache"] = not given.pop("no_cache")
    if given["mcp"] and find_spec("mcp") is None:
        parser.error(str(MissingDependencyError("mcp", "mcp")))
    given["region_model"] = given["region_model"] or None
    given["model_named"] = "model" in given
    given.setdefault("model", str(root / DEFAULT_MODEL))
    chosen = given.pop("gallery", None)
    on_space = bool(environ.get("SPACE_ID"))
    gallery = chosen or (HUB_GALLERY if on_space else SAMPLE_GALLERY)
    return AppSettings(
        gallery=gallery, fall_back=on_space and not chosen, on_space=on_space, **given
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is no port; expected 1 to 65535")
    return port


def _parser(environ: Mapping[str, str], root: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py", description="Search remote-sensing pictures by words and by picture."
    )
    add = parser.add_argument

    def add_named(flag: str, variable: str, text: str = "", *, kind: type = str) -> None:
        """Add a flag whose default an environment variable may give; an empty one gives none."""
        default = environ.get(variable) or None
        add(flag, default=default, help=f"{text} [{variable}]".lstrip(), type=kind)

    text = "model directory or Hub id (default: the one that ships, or that made the index)"
    add_named("--model", "RSCTIR_MODEL", text)
    text = "folder or Hub id of an adapter (LoRA) that was trained in the model"
    add_named("--adapter", "RSCTIR_ADAPTER", text)
    add(
        "--region-model",
        default=environ.get("RSCTIR_REGION_MODEL", str(root / DEFAULT_REGION_MODEL)),
        help="used for region graphs if the model has none; '' for none [RSCTIR_REGION_MODEL]",
    )
    text = (
        f"regions of a GaLR model: '{MODEL_REGIONS}' (the default: its own), or the folder or "
        "Hub id of an object detector, such as checkpoints/overhead-rsod"
    )
    add_named("--regions", "RSCTIR_REGIONS", text)
    text = "least score, 0 to 1, of a detector's regions"
    add_named("--region-threshold", "RSCTIR_REGION_THRESHOLD", text, kind=float)
    text = (
        f"'{SAMPLE_GALLERY}' (the default: drawn scenes), a folder of pictures, an index (a folder "
        "of 'rsctir index' or 'rsctir embed', or a server's URI), or a Hub data set id: "
        f"{HUB_GALLERY} brings 1,093 photographs from the network"
    )
    add_named("--gallery", "RSCTIR_GALLERY", text)
    add("--images", type=Path, help="where the pictures of an index lie now, if they moved")
    add_named("--split", "RSCTIR_GALLERY_SPLIT", "split of a Hub data set")
    add_named("--bank", "RSCTIR_BANK", "caption bank, one sentence a line", kind=Path)
    add_named("--device", "RSCTIR_DEVICE")
    text = "keep no vectors of gallery and bank for the next launch [RSCTIR_NO_CACHE=1]"
    add("--no-cache", action="store_true", help=text)
    add("--trust-remote-code", action="store_true", help="run code that a Hub model brings along")
    add("--host", help="address to listen on (default: loopback)")
    add("--port", type=_port, help="port (default: first free from 7860)")
    add("--open-browser", action="store_true", help="open the page in a browser")
    add(
        "--mcp",
        action="store_true",
        help="offer the searches as tools to language models, at /gradio_api/mcp/ [RSCTIR_MCP=1]",
    )
    return parser
