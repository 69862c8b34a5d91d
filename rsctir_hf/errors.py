"""The package's own exceptions: each subclasses a builtin and says what to do next."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NoReturn

from safetensors import SafetensorError


class RsctirError(Exception):
    """Root of every exception raised on purpose by this package."""


class ImageReadError(RsctirError, ValueError):
    """A file or array could not be read as a picture."""


class RasterError(ImageReadError):
    """A raster could not be opened or read, or holds nothing that could be searched."""


class DataLayoutError(RsctirError, FileNotFoundError):
    """A data set or gallery folder does not hold what its format asks for."""


class OutputExistsError(RsctirError, FileExistsError):
    """The place to write to holds something already."""


class StorageError(RsctirError, OSError):
    """Something could not be written: no space left, no permission, or the folder went away."""


class FolderBusyError(RsctirError, RuntimeError):
    """Another process is writing to the same folder."""


class QueryError(RsctirError, ValueError):
    """A query, or an option of a command or function, that cannot be answered."""


class ModelLoadError(RsctirError, OSError):
    """A model directory or id could not be loaded."""


class PushError(RsctirError, OSError):
    """Something could not be pushed to the Hub."""


class IndexMismatchError(RsctirError, ValueError):
    """An index was built with another model, revision or kind of regions."""


class UnknownItemError(RsctirError, LookupError):
    """An index holds nothing under an id."""


class IndexUnavailableError(RsctirError, ConnectionError):
    """The server that holds an index does not answer, or refuses."""


class RegionsError(RsctirError, ValueError):
    """A choice of regions that does not exist, or a proposer's regions that make no sense."""


class UnsupportedError(RsctirError, NotImplementedError):
    """The model at hand has no such ability (for example a region graph)."""


class RecipeError(RsctirError, ValueError):
    """A training recipe holds an unknown key or values that contradict each other."""


class MissingDependencyError(RsctirError, ImportError):
    """An optional package is needed and absent.

    Args:
        package: import name of the package.
        extra: the extra of ``rsctir_hf`` that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Run: pip install 'rsctir_hf[{extra}]'")


def require_packages(*names: str, extra: str) -> None:
    """Look for packages without importing them.

    Raises:
        MissingDependencyError: one is absent.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingDependencyError(name, extra)


@contextmanager
def exit_on_error(extra: str) -> Iterator[None]:
    """End the program with one line and exit code 2, as the command line does, where foreseen.

    Foreseen are our errors, those of files, and missing packages.

    Args:
        extra: of ``rsctir_hf``, which has the packages that the block needs.
    """
    try:
        yield
    except (RsctirError, OSError, SafetensorError) as error:
        _exit(str(error))
    except ImportError as error:
        _exit(f"{error}. Run: pip install 'rsctir_hf[{extra}]'")


def _exit(reason: str) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(reason.split())}\n")
    sys.exit(2)
