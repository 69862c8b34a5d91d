"""The demo on the Hugging Face Hub: which files of a checkout a Space needs, and their upload."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi

from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.loading.hub_files import could_be_dataset_id, could_be_hub_id
from rsctir_hf.loading.push_errors import explained_push

SAMPLE_GALLERY = "sample"
#: Photographs: the gallery of a Space, and of a laptop whose user asks for it.
HUB_GALLERY = "arampacha/rsicd"
DEFAULT_MODEL = "checkpoints/cmpagl-rs"
DEFAULT_REGION_MODEL = "checkpoints/galr-rs"
#: Environment variables of a launch; the flags of the same meaning come first.
VARIABLES = (
    "RSCTIR_MODEL",
    "RSCTIR_ADAPTER",
    "RSCTIR_REGION_MODEL",
    "RSCTIR_REGIONS",
    "RSCTIR_REGION_THRESHOLD",
    "RSCTIR_GALLERY",
    "RSCTIR_GALLERY_SPLIT",
    "RSCTIR_BANK",
    "RSCTIR_DEVICE",
    "RSCTIR_MCP",
    "RSCTIR_NO_CACHE",
)
#: What the variable of a switch may hold, in lower case.
SWITCH = {"": False, "0": False, "false": False, "1": True, "true": True}

#: The checkout that this file lies in.
CHECKOUT = Path(__file__).parents[2]
CHECKPOINTS = "checkpoints"
#: What every Space needs beside its checkpoints. README.md carries the settings of the Space.
ALWAYS = ("README.md", "LICENSE", "app.py", "requirements.txt", "rsctir_hf")
#: Variables that may name a folder below CHECKPOINTS, with what counts where they are not set.
_MODELS = {
    "RSCTIR_MODEL": DEFAULT_MODEL,
    "RSCTIR_ADAPTER": "",
    "RSCTIR_REGION_MODEL": DEFAULT_REGION_MODEL,
    "RSCTIR_REGIONS": "",
}
_MCP_REQUIREMENT = "gradio[mcp]\n"  # a Space that offers tools needs the package for it
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
_DELETE_PATTERNS = ["rsctir_hf/**", "checkpoints/**"]  # where files of an older upload are deleted


def space_parts(variables: Mapping[str, str], *, checkout: Path = CHECKOUT) -> list[str]:
    """Return the files and folders of a checkout that a Space needs, as paths below it.

    Args:
        variables: the Space's environment variables. Checkpoints they name come along, those that
            nothing names stay behind.
        checkout: of the repository.

    Raises:
        QueryError: an unknown ``RSCTIR_`` variable, or a folder that would not be uploaded.
        DataLayoutError: this is no checkout, or a checkpoint is named that it does not hold.
    """
    unknown = [key for key in variables if key.startswith("RSCTIR_") and key not in VARIABLES]
    if unknown:
        raise QueryError(f"The app reads no variable {unknown[0]}. Known: {', '.join(VARIABLES)}.")
    _check_values(variables)
    named = {key: variables.get(key, default) for key, default in _MODELS.items()}
    shipped = [part for key, name in named.items() for part in _shipped_with(key, name)]
    parts = [*ALWAYS, *dict.fromkeys(shipped)]
    missing = [part for part in parts if not (checkout / part).exists()]
    if missing:
        raise DataLayoutError(
            f"There is no {missing[0]} in {checkout}. A Space is made from a checkout of the "
            "repository (an installed package holds neither app.py nor checkpoints): clone it, "
            "run `pip install -e .` there, and name checkpoints that it holds, or Hub ids."
        )
    return parts


def _check_values(variables: Mapping[str, str]) -> None:
    """Refuse values with which the app would not start on a Space, or would show something else."""
    gallery = variables.get("RSCTIR_GALLERY", SAMPLE_GALLERY)
    if gallery != SAMPLE_GALLERY and not could_be_dataset_id(gallery):
        raise QueryError(
            f"RSCTIR_GALLERY is {gallery!r}, which a Space would not hold. Expected "
            f"{SAMPLE_GALLERY!r} or the id of a data set on the Hub, OWNER/NAME."
        )
    if variables.get("RSCTIR_BANK"):
        raise QueryError(
            "RSCTIR_BANK names a file, which a Space would not hold. Leave it out, as the caption "
            "bank that ships goes along, or add your file to the Space and set the variable there."
        )
    for switch in ("RSCTIR_MCP", "RSCTIR_NO_CACHE"):
        if variables.get(switch, "").lower() not in SWITCH:
            raise QueryError(
                f"{switch} is {variables[switch]!r}; expected one of "
                f"{', '.join(filter(None, SWITCH))}."
            )
    if variables.get("RSCTIR_MODEL") == "":
        raise QueryError("RSCTIR_MODEL is empty. Leave it out, or give a checkpoint or a Hub id.")


def _shipped_with(key: str, name: str) -> list[str]:
    """Return the checkpoint that a variable names, as a path; none where it names a Hub id."""
    path = PurePosixPath(name)
    if path.parts[:1] == (CHECKPOINTS,) and len(path.parts) == 2 and path.name != "..":
        return [path.as_posix()]
    if name and (path.parts[:1] == (CHECKPOINTS,) or not could_be_hub_id(name)):
        raise QueryError(
            f"{key} is {name!r}, which a Space would not hold. Expected {CHECKPOINTS}/NAME, a "
            "checkpoint of this checkout, or a Hub id."
        )
    return []


def copy_space(folder: str | Path, parts: Sequence[str], *, checkout: Path = CHECKOUT) -> list[str]:
    """Copy what a Space needs into an empty folder.

    Args:
        folder: where to; made if need be.
        parts: as ``space_parts`` returns.
        checkout: of the repository.

    Returns:
        The files, as sorted paths below the folder with forward slashes.
    """
    target = Path(folder)
    for part in parts:
        source, copy = checkout / part, target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=_IGNORED)
        else:
            shutil.copy2(source, copy)
    files = (path for path in target.rglob("*") if path.is_file())
    return sorted(path.relative_to(target).as_posix() for path in files)


def deploy_space(
    repo_id: str,
    *,
    variables: Mapping[str, str] | None = None,
    private: bool = False,
    hardware: str | None = None,
    checkout: Path = CHECKOUT,
) -> str:
    """Put the demo on the Hub: make the Space if need be, set its variables, upload its files.

    The upload is one commit. It replaces an older one: what that left below ``rsctir_hf/`` and
    ``checkpoints/`` goes; other files of the Space stay.

    Args:
        repo_id: ``OWNER/NAME`` of the Space.
        variables: environment variables of the Space.
        private: make a new Space private.
        hardware: such as ``cpu-basic`` or ``t4-small``; None leaves it as it is.
        checkout: of the repository.

    Returns:
        The address of the Space.

    Raises:
        QueryError, DataLayoutError: see ``space_parts``.
        PushError: no token, no right to write, a malformed name, or the Hub cannot be reached.
    """
    given = dict(variables or {})
    parts = space_parts(given, checkout=checkout)
    api = HfApi()
    with explained_push("The demo", repo_id):
        url = api.create_repo(
            repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True
        )
        for key, value in given.items():
            api.add_space_variable(repo_id, key, value)
        if hardware is not None:
            api.request_space_hardware(repo_id, hardware)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory(prefix="rsctir-space-") as folder:
            copy_space(folder, parts, checkout=checkout)
            if SWITCH.get(given.get("RSCTIR_MCP", "").lower()):
                with (Path(folder) / "requirements.txt").open("a", encoding="utf-8") as listed:
                    listed.write(_MCP_REQUIREMENT)
            api.upload_folder(
                folder_path=folder,
                repo_id=repo_id,
                repo_type="space",
                commit_message="Upload the demo",
                delete_patterns=_DELETE_PATTERNS,
            )
    return str(url)
