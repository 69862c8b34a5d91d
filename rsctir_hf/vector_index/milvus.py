"""Milvus: a sharded server for what one machine cannot hold; milvus-lite in a file for trying out.

A collection holds ``id``, ``embedding``, ``metadata`` (JSON), the ``path`` of that once more (to
find entries by it quickly) and the bounding box as four columns of degrees; the record of the index
is a property of the collection. What was added is flushed before the next search, which is slow
otherwise. A filtered search that falls short, as those of milvus-lite do, is answered exactly from
what passes.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import parse_qsl, urlunsplit

import torch
from torch import Tensor

from rsctir_hf.errors import (
    IndexMismatchError,
    IndexUnavailableError,
    MissingDependencyError,
    RsctirError,
)
from rsctir_hf.vector_index.arguments import refuse_folder, refuse_held, refuse_unknown
from rsctir_hf.vector_index.conditions import meets
from rsctir_hf.vector_index.contract import Batch, BoundingBox, Entry, SearchFilter, VectorIndex
from rsctir_hf.vector_index.filters import (
    LONGEST_PATH,
    PATH,
    is_loose_in_milvus,
    milvus_condition,
    path_column,
)
from rsctir_hf.vector_index.nearest import evenly_spaced, hits_of, nearest_rows
from rsctir_hf.vector_index.server_uri import read_server_uri

try:
    import grpc
    from pymilvus import DataType, MilvusClient, MilvusException
except ImportError as error:
    raise MissingDependencyError("pymilvus", "milvus") from error

DEFAULT_COLLECTION = "rsctir_pictures"
_RECORD = "rsctir.record"  # property of the collection
_CORNERS = ("min_x", "min_y", "max_x", "max_y")
_NO_BOX = (1000.0, 1000.0, -1000.0, -1000.0)  # overlaps nothing on the Earth
_GRAPH = {"M": 32, "efConstruction": 128}
_EF_SEARCH = 128
_ROWS_AT_ONCE = 1000  # of one insertion or query
_MOST_HITS = 16_384  # of one search, Milvus's limit


class MilvusIndex(VectorIndex):
    """A collection of unit vectors.

    Args:
        uri: ``http://user:password@host:19530?collection=NAME``, or a file that ends in ``.db``,
            which milvus-lite keeps and one process at a time may open.

    Raises:
        IndexUnavailableError: the server does not answer, or the file is open elsewhere.
        QueryError: the URI's host or port cannot be one.
        IndexMismatchError: a collection that is not ours or of an older version.
    """

    persistent = True
    approximate = True

    def __init__(self, uri: str) -> None:
        parts = read_server_uri(uri)
        self.uri = uri
        self._name = dict(parse_qsl(parts.query)).get("collection", DEFAULT_COLLECTION)
        host = parts.netloc.rpartition("@")[2]
        self._uri = urlunsplit(parts._replace(netloc=host, query=""))
        self.place = f"the collection {self._name} of {self._uri}"
        self._login = {"user": parts.username or "", "password": parts.password or ""}
        self._client: Any = None
        self._unflushed = False
        self._early_record: Mapping[str, Any] = {}  # noted before there is a collection
        self._last_id = 0
        self._lock = RLock()
        with self._answering():
            pass

    @property
    def record(self) -> Mapping[str, Any]:
        """What is noted about the index as a whole."""
        with self._answering() as client:
            about = self._about(client)
        if about is None:
            return self._early_record
        return json.loads(about["properties"].get(_RECORD, "{}"))

    @record.setter
    def record(self, record: Mapping[str, Any]) -> None:
        with self._answering() as client:
            if self._about(client) is None:
                self._early_record = dict(record)
            else:
                properties = {_RECORD: json.dumps(dict(record))}
                client.alter_collection_properties(self._name, properties=properties)

    @property
    def dimension(self) -> int | None:
        """The length D of the vectors; None where there is no collection yet."""
        with self._answering() as client:
            about = self._about(client)
        if about is None:
            return None
        fields = {field["name"]: field for field in about["fields"]}
        if not {"embedding", PATH} <= fields.keys():
            raise IndexMismatchError(
                f"The collection {self._name} of {self._uri} is not ours or of an older version. "
                "Name another collection, or drop it and build the index anew."
            )
        return int(fields["embedding"]["params"]["dim"])

    def __len__(self) -> int:
        with self._answering() as client:
            if self.dimension is None:
                return 0
            counted = client.query(self._name, filter="id >= 0", output_fields=["count(*)"])
            return int(counted[0]["count(*)"])

    def ids(self, only: SearchFilter | None = None, *, most: int | None = None) -> Tensor:
        """See ``contract.VectorIndex.ids``."""
        found: list[int] = []
        doubtful = only if is_loose_in_milvus(only) else None
        with self._answering() as client:
            if self.dimension is not None:
                rows = client.query_iterator(
                    self._name,
                    batch_size=_ROWS_AT_ONCE,
                    filter=milvus_condition(only),
                    output_fields=["id", "metadata"] if doubtful else ["id"],
                )
                while part := rows.next():
                    found += [
                        row["id"]
                        for row in part
                        if doubtful is None or meets(row["metadata"], doubtful.wanted)
                    ]
                rows.close()
        found.sort()
        kept = [found[position] for position in evenly_spaced(len(found), most=most)]
        return torch.tensor(kept, dtype=torch.int64)

    def save(self, folder: Path | None = None) -> None:
        """Flush what was added; see ``contract.VectorIndex.save``."""
        refuse_folder(folder, self.place)
        with self._answering() as client:
            self._flush(client)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _together(self) -> AbstractContextManager[Any]:
        return self._answering()

    def _put(self, batch: Batch, *, replace: bool) -> list[int]:
        """Write a thousand entries at a time; what was written stays on an error.

        Makes the collection where it is missing. Free ids are microseconds of the clock, so that
        several writers need not agree.
        """
        with self._answering() as client:
            if batch.ids is not None and not replace:
                refuse_held(sorted(self._rows(batch.ids, ["id"])))
            if self.dimension is None:
                self._create(client, batch.vectors.shape[1])
            ids = batch.ids
            if ids is None:
                first = max(self._last_id + 1, time.time_ns() // 1000)
                ids = list(range(first, first + len(batch.vectors)))
                self._last_id = ids[-1]
            rows = [
                {"id": one, "embedding": vector, "metadata": metadata}
                | {PATH: path_column(metadata.get(PATH))}
                | dict(zip(_CORNERS, box.corners if box else _NO_BOX, strict=True))
                for one, vector, metadata, box in zip(
                    ids, batch.vectors.tolist(), batch.metadata, batch.boxes, strict=True
                )
            ]
            for part in _thousands(rows):
                client.upsert(self._name, part)
                self._unflushed = True
        return ids

    def _forget(self, ids: list[int]) -> None:
        with self._answering() as client:
            self._known_rows(ids, ["id"])
            for part in _thousands(ids):
                client.delete(self._name, ids=part)
                self._unflushed = True

    def _vectors(self, ids: list[int]) -> Tensor:
        rows = self._known_rows(ids, ["id", "embedding"])
        return torch.tensor([rows[one]["embedding"] for one in ids])

    def _entries(self, ids: list[int]) -> list[Entry]:
        rows = self._known_rows(ids, ["id", "metadata", *_CORNERS])
        return [_entry(rows[one]) for one in ids]

    def _search(
        self, queries: Tensor, top_k: int, only: SearchFilter | None
    ) -> tuple[Tensor, Tensor]:
        """See ``contract.VectorIndex.search``; at most 16,384 hits, Milvus's limit."""
        limit = min(top_k, _MOST_HITS)
        found = self._passing(queries, limit, only)
        if is_loose_in_milvus(only) and min(map(len, found)) < limit < _MOST_HITS:
            found = [hits[:limit] for hits in self._passing(queries, _MOST_HITS, only)]
        if only is not None and min(map(len, found)) < limit:
            ids = self.ids(only)
            if 0 < len(ids) <= _MOST_HITS:  # the graph did not reach enough of them
                scores, rows = nearest_rows(self.vectors_of(ids), queries, limit)
                return scores, ids[rows]
        return hits_of(found)

    def _passing(
        self, queries: Tensor, limit: int, only: SearchFilter | None
    ) -> list[list[tuple[float, int]]]:
        """Return (score, id) of those of the nearest ``limit`` of each query that pass."""
        doubtful = only if is_loose_in_milvus(only) else None
        with self._answering() as client:
            self._flush(client)
            answers = client.search(
                self._name,
                data=queries.tolist(),
                limit=limit,
                filter=milvus_condition(only),
                output_fields=["id", "metadata"] if doubtful else ["id"],
                search_params={"params": {"ef": max(_EF_SEARCH, limit)}},
            )
        return [
            [
                (hit["distance"], hit["id"])
                for hit in hits
                if doubtful is None or meets(hit["entity"]["metadata"], doubtful.wanted)
            ]
            for hits in answers
        ]

    @contextmanager
    def _answering(self) -> Iterator[Any]:
        """Yield a client, connecting where there is no connection."""
        with self._lock:
            try:
                if self._client is None:
                    self._client = self._connected()
                yield self._client
            except RsctirError:
                raise
            except (MilvusException, grpc.RpcError, OSError, ValueError) as error:
                self._client = None
                raise IndexUnavailableError(
                    f"Milvus ({self._uri}, collection {self._name}) did not carry that out: "
                    f"{error}. See that the server runs and may be reached, or that no other "
                    "process has the file open, then try again; the next call connects anew."
                ) from error

    def _connected(self) -> MilvusClient:
        """Connect; a collection that a server has put to rest is loaded again."""
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints what it raises
        client = MilvusClient(uri=self._uri, **self._login)
        if client.has_collection(self._name):
            client.load_collection(self._name)
        return client

    def _about(self, client: MilvusClient) -> dict[str, Any] | None:
        if not client.has_collection(self._name):
            return None
        return client.describe_collection(self._name)

    def _create(self, client: MilvusClient, dimension: int) -> None:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
        schema.add_field("metadata", DataType.JSON)
        schema.add_field(PATH, DataType.VARCHAR, max_length=LONGEST_PATH)
        for corner in _CORNERS:
            schema.add_field(corner, DataType.DOUBLE)
        graph = client.prepare_index_params()
        graph.add_index("embedding", index_type="HNSW", metric_type="IP", params=_GRAPH)
        client.create_collection(
            self._name, schema=schema, index_params=graph, consistency_level="Strong"
        )
        if self._early_record:
            self.record = self._early_record

    def _flush(self, client: MilvusClient) -> None:
        if self._unflushed:
            client.flush(self._name)
            self._unflushed = False

    def _rows(self, ids: list[int], fields: list[str]) -> dict[int, dict[str, Any]]:
        """Fetch fields, ``id`` among them, of those of ``ids`` that are there, by id."""
        found: dict[int, dict[str, Any]] = {}
        with self._answering() as client:
            if self.dimension is not None:
                for part in _thousands(ids):
                    rows = client.get(self._name, ids=part, output_fields=fields)
                    found |= {row["id"]: dict(row) for row in rows}
        return found

    def _known_rows(self, ids: list[int], fields: list[str]) -> dict[int, dict[str, Any]]:
        """Fetch as ``_rows`` does; raises ``UnknownItemError`` where one is missing."""
        rows = self._rows(ids, fields)
        refuse_unknown(sorted(set(ids) - rows.keys()), self.place)
        return rows


def _entry(row: dict[str, Any]) -> Entry:
    corners = tuple(row[corner] for corner in _CORNERS)
    return Entry(row["id"], row["metadata"], None if corners == _NO_BOX else BoundingBox(*corners))


def _thousands(rows: list[Any]) -> Iterator[list[Any]]:
    """Yield as many rows as are inserted or asked for at once."""
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[first : first + _ROWS_AT_ONCE]
