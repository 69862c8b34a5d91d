"""A connection to PostgreSQL that is opened when needed, and again after an outage."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

from rsctir_hf.errors import IndexUnavailableError, MissingDependencyError, RsctirError

try:
    import psycopg
    from pgvector.psycopg import register_vector
    from psycopg import sql
except ImportError as error:
    raise MissingDependencyError("psycopg and pgvector", "postgres") from error

_MAKING = 0x727363746972  # "rsctir" in ASCII, among PostgreSQL's advisory locks


class Session:
    """One connection, one transaction at a time; threads take turns.

    Args:
        conninfo: URI or string as libpq reads it.
        place: what to call the server in messages; without passwords.
        names: what every statement may name in braces.
    """

    def __init__(self, conninfo: str, *, place: str, names: Mapping[str, sql.Composable]) -> None:
        self._conninfo = conninfo
        self._place = place
        self._names = names
        self._connection: Any = None
        self._cursor: Any = None  # while there is a transaction
        self._lock = RLock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction, or go on in the one begun; connects where there is no connection.

        Raises:
            IndexUnavailableError: the server does not answer, or refuses.
        """
        with self._lock:
            if self._cursor is not None:
                yield
                return
            try:
                if self._connection is None:
                    self._connection = self._connected()
                with self._connection.transaction(), self._connection.cursor() as self._cursor:
                    yield
            except RsctirError:
                raise
            except psycopg.Error as error:
                if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                    self.close()
                reason = " ".join(str(error).split()).rstrip(".")
                raise IndexUnavailableError(
                    f"PostgreSQL ({self._place}) did not carry that out: {reason}. See that the "
                    "server runs and may be reached, then try again; the next call connects anew."
                ) from error
            finally:
                self._cursor = None

    def alone(self) -> None:
        """Wait until no other transaction is making a table or an extension of ours."""
        self.execute("SELECT pg_advisory_xact_lock(%s)", [_MAKING])

    def execute(self, query: str, values: Sequence[Any] = (), **names: sql.Composable) -> None:
        """Run a statement; ``values`` fill its placeholders, ``names`` what stands in braces."""
        with self.transaction():
            composed = sql.SQL(query).format(**self._names, **names)
            self._cursor.execute(composed, list(values) or None)

    def fetch(
        self, query: str, values: Sequence[Any] = (), **names: sql.Composable
    ) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with self.transaction():
            self.execute(query, values, **names)
            return self._cursor.fetchall()

    def copy(self, query: str, types: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
        """Send rows to a ``COPY ... FROM STDIN (FORMAT BINARY)``, columns of these types."""
        with self.transaction():
            composed = sql.SQL(query).format(**self._names)
            with self._cursor.copy(composed) as sink:
                sink.set_types(types)
                for row in rows:
                    sink.write_row(row)

    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _connected(self) -> Any:  # noqa: ANN401 - psycopg.Connection of tuples
        """Connect, and see to pgvector; a user who only searches needs no right to create it."""
        connection = psycopg.connect(self._conninfo, autocommit=True)
        known = "SELECT 1 FROM pg_extension WHERE extname = 'vector'"
        if connection.execute(known).fetchone() is None:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MAKING])
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        return connection
