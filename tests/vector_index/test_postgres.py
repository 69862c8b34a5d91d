"""The PostgreSQL engine on a real server, which dies and comes back in one of the tests."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import psycopg
import pytest
import torch

from rsctir_hf.errors import IndexMismatchError, IndexUnavailableError, QueryError, UnsupportedError
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.postgres import PostgresIndex
from tests.vector_index.contract import VectorIndexContract, fill, unit_vectors

pytestmark = pytest.mark.slow


@pytest.fixture
def index(new_uri):
    opened = open_index(new_uri())
    yield opened
    opened.close()


class TestPostgres(VectorIndexContract):
    approximate = True
    tolerance = 2e-3  # half precision

    @pytest.fixture
    def reopened(self):
        def save_and_open(index):
            index.save()
            return open_index(index.uri)

        return save_and_open

    @pytest.fixture(scope="class")
    def full(self, new_uri):
        index = PostgresIndex(new_uri())
        vectors = fill(index)
        index.save()
        yield index, vectors
        index.close()


def plan(index, only=None):
    """What PostgreSQL says it will do for a search."""
    with psycopg.connect(index.conninfo) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_sort = off")
        rows = connection.execute(
            psycopg.sql.SQL(
                "EXPLAIN SELECT id FROM {} ORDER BY embedding <#> %s::halfvec LIMIT 5"
            ).format(psycopg.sql.Identifier(index.table)),
            [str(unit_vectors(1)[0].tolist())],
        ).fetchall()
    return "\n".join(row[0] for row in rows)


def test_saving_builds_the_graph_that_searches_walk(index):
    fill(index)
    assert "_hnsw" not in plan(index)
    index.save()
    assert "_hnsw" in plan(index)


def test_a_filter_that_few_pass_still_fills_the_answer(index):
    vectors = unit_vectors(5000)
    index.add(vectors, metadata=[{"rare": position % 500 == 0} for position in range(5000)])
    index.save()
    _, ids = index.search(unit_vectors(2, seed=1), 10, only=SearchFilter({"rare": True}))
    assert ids.shape == (2, 10)
    assert sorted(ids[0].tolist()) == list(range(0, 5000, 500))


def test_two_programs_write_one_table(index):
    other = open_index(index.uri)
    index.add(unit_vectors(3))
    other.add(unit_vectors(3, seed=1))
    index.add(unit_vectors(3, seed=2))
    assert other.ids().tolist() == list(range(9))
    other.close()


def test_programs_that_begin_at_once_make_one_table(index, server):
    count = 4
    server.psql("CREATE DATABASE begun_at_once")
    uri = index.uri.replace("/postgres?", "/begun_at_once?")
    together = Barrier(count)

    def begin(row):
        together.wait()
        opened = open_index(uri)
        together.wait()
        opened.record = {"model_id": "org/model"}
        together.wait()
        opened.add(unit_vectors(count)[row : row + 1])
        opened.close()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(begin, range(count)))
    with closing(open_index(uri)) as opened:
        assert opened.ids().tolist() == list(range(count))


def test_user_and_host_may_stand_among_the_options(index):
    vectors = fill(index)
    uri = index.uri.replace("postgresql://postgres:@/", "postgresql:///") + "&user=postgres"
    assert uri != index.uri + "&user=postgres"
    with closing(open_index(uri)) as opened:
        assert opened.search(vectors[:1], 1)[1].tolist() == [[100]]


def test_a_user_who_may_only_read_searches(index):
    vectors = fill(index)
    index.record = {"model_id": "org/model"}
    index.save()
    with psycopg.connect(index.conninfo) as connection:
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    reader = open_index(index.uri.replace("postgres:@", "reader@"))
    assert reader.record == {"model_id": "org/model"}
    assert reader.search(vectors[:1], 1)[1].tolist() == [[100]]
    with pytest.raises(IndexUnavailableError, match="permission denied"):
        reader.delete([100])
    assert len(reader) == len(index) == 200
    reader.close()


def test_a_server_that_dies_in_mid_query_is_named_and_found_again(index, server):
    vectors = fill(index)
    table = psycopg.sql.Identifier(index.table)
    with psycopg.connect(index.conninfo) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(psycopg.sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        answer = pool.submit(index.search, vectors[:1], 3)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while holder.execute(waiting).fetchone() == (0,):
            time.sleep(0.02)
        server.get_postmaster_info().process.kill()
        server.get_postmaster_info().process.wait(10)
        with pytest.raises(IndexUnavailableError, match=r"PostgreSQL .*next call connects anew"):
            answer.result(timeout=30)
        holder.close()
    with pytest.raises(IndexUnavailableError):
        len(index)
    server.ensure_postgres_running()
    assert index.search(vectors[:1], 1)[1].tolist() == [[100]]


def test_a_password_is_in_no_message():
    with pytest.raises(IndexUnavailableError) as caught:
        PostgresIndex("postgresql://me:secret@127.0.0.1:1/nowhere?connect_timeout=2")
    assert "secret" not in str(caught.value)


def test_a_table_that_is_no_index_is_left_alone(index):
    with psycopg.connect(index.conninfo) as connection:
        name = psycopg.sql.Identifier(index.table)
        connection.execute(psycopg.sql.SQL("CREATE TABLE {} (id int)").format(name))
    with pytest.raises(IndexMismatchError, match="It is no index of rsctir_hf"):
        index.add(unit_vectors(1))


def test_a_name_too_long_for_postgresql_is_refused():
    with pytest.raises(QueryError, match="at most 50"):
        PostgresIndex("postgresql://nobody@127.0.0.1:1/nowhere?table=" + 51 * "x")


def test_vectors_too_long_for_a_graph_are_refused_at_once(index):
    with pytest.raises(IndexMismatchError, match="at most 4,000"):
        index.add(torch.eye(4001)[:1])
    assert index.dimension is None


def test_a_folder_is_refused(index, tmp_path):
    with pytest.raises(UnsupportedError, match="not in a folder"):
        index.save(tmp_path)
    assert not list(tmp_path.iterdir())
