"""Open an index by the name of an engine, by its folder, or by the URI of the server it lives on.

- ``exact``, ``hnsw``: a new index in memory, for ``save(folder)``
- a folder: what was saved there
- ``postgresql://user@host/database?table=NAME``: PostgreSQL with pgvector
- ``http://host:19530?collection=NAME``, ``FILE.db``: Milvus, a server or milvus-lite in a file
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.vector_index.contract import VectorIndex
from rsctir_hf.vector_index.folder import read_folder

#: The engines that live in memory and are saved to a folder: a ``memory.MemoryIndex`` each, as
#: ``module:class``, for its file and the package that needs are imported on first use.
ENGINES: dict[str, str] = {
    "exact": "rsctir_hf.vector_index.exact:ExactIndex",
    "hnsw": "rsctir_hf.vector_index.hnsw:HNSWIndex",
}
_SERVERS = {
    "postgres": "rsctir_hf.vector_index.postgres:PostgresIndex",
    "milvus": "rsctir_hf.vector_index.milvus:MilvusIndex",
}


def open_index(place: str | Path, *, must_exist: bool = False) -> VectorIndex:
    """Open an index.

    Args:
        place: see the list above. A server's table need not exist: it is made when something is
            added.
        must_exist: refuse a file of milvus-lite that is not there, instead of making it.

    Raises:
        IndexMismatchError: a folder without index, or a damaged one; a file that is not there.
        MissingDependencyError: the engine's package is not installed.
        IndexUnavailableError: the server does not answer.
    """
    server = server_of(place)
    file = Path(str(place).partition("?")[0])
    if must_exist and file.suffix == ".db" and not file.exists():
        raise IndexMismatchError(
            f"There is no file {file}. Make it with: rsctir index --model MODEL --images FOLDER "
            f"--engine {file}"
        )
    if server is not None:
        return _imported(_SERVERS[server])(str(place))
    if place in ENGINES:
        return _imported(ENGINES[str(place)])()
    return _open_folder(Path(place))


def server_of(place: str | Path) -> str | None:
    """Return which kind of server keeps an index: ``postgres``, ``milvus`` or none."""
    text = str(place)
    if text.startswith(("postgresql://", "postgres://")):
        return "postgres"
    if text.startswith(("http://", "https://")) or text.partition("?")[0].endswith(".db"):
        return "milvus"
    return None


def _open_folder(folder: Path) -> VectorIndex:
    """Load a saved index; where another process replaces it meanwhile, the newer one."""
    while True:
        saved = read_folder(folder)
        if saved.engine not in ENGINES:
            raise IndexMismatchError(
                f"{folder} was made by the engine {saved.engine!r}; this version knows "
                f"{', '.join(ENGINES)}. Build the index anew, or update rsctir_hf."
            )
        try:
            return _imported(ENGINES[saved.engine]).load(saved)
        except IndexMismatchError:
            if read_folder(folder).data == saved.data:
                raise


def _imported(engine: str) -> Any:  # noqa: ANN401 - a VectorIndex
    """Return the class that ``module:class`` names."""
    module, _, name = engine.partition(":")
    return getattr(import_module(module), name)
