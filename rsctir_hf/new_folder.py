"""A folder that is written whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rsctir_hf.errors import OutputExistsError


@contextmanager
def new_folder(output: str | Path) -> Iterator[Path]:
    """Give a folder to write to, which takes its place at ``output`` when all went well.

    Args:
        output: a path where nothing is, or an empty folder; parents are made.

    Yields:
        A hidden folder beside it; removed again, with its content, after any exception.

    Raises:
        OutputExistsError: there is something at ``output``, or a file where a parent would be.
    """
    target = Path(output).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(
            f"{target} exists and is not an empty folder. Choose another output or remove it."
        )
    if any(parent.exists() and not parent.is_dir() for parent in target.parents):
        raise OutputExistsError(f"{target} lies below a file. Choose another output.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes a private folder
        partial.replace(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
