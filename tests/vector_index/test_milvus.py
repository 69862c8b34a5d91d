"""The Milvus engine on milvus-lite, which keeps a collection in a file."""

import subprocess
import sys
from itertools import count

import pytest
from milvus_lite.server_manager import server_manager_instance

from rsctir_hf.errors import IndexMismatchError, IndexUnavailableError, UnsupportedError
from rsctir_hf.vector_index.contract import SearchFilter
from rsctir_hf.vector_index.filters import milvus_condition
from rsctir_hf.vector_index.milvus import MilvusIndex
from rsctir_hf.vector_index.opening import open_index
from tests.vector_index.contract import VectorIndexContract, fill, unit_vectors

pytestmark = pytest.mark.slow

_numbers = count()


@pytest.fixture(scope="module")
def new_uri(tmp_path_factory):
    file = tmp_path_factory.mktemp("milvus") / "pictures.db"
    return lambda: f"{file}?collection=pictures_{next(_numbers)}"


@pytest.fixture
def index(new_uri):
    opened = open_index(new_uri())
    yield opened
    opened.close()


def file_of(index):
    return index.uri.partition("?")[0]


class TestMilvus(VectorIndexContract):
    approximate = True

    @pytest.fixture
    def reopened(self):
        def save_and_open(index):
            index.save()
            index.close()
            server_manager_instance.release_server(file_of(index))
            return open_index(index.uri)

        return save_and_open

    @pytest.fixture(scope="class")
    def full(self, new_uri):
        index = MilvusIndex(new_uri())
        vectors = fill(index)
        yield index, vectors
        index.close()


def test_a_few_thousand_vectors_are_found_again(index):
    vectors = unit_vectors(3000)
    ids = index.add(vectors)
    assert len(index) == 3000
    asked = vectors[::500]
    assert index.search(asked, 1)[1].flatten().tolist() == ids[::500].tolist()


def test_a_filter_that_few_pass_still_fills_the_answer(index):
    ids = index.add(unit_vectors(2000), metadata=[{"rare": row % 100 == 0} for row in range(2000)])
    index.save()
    found = index.search(unit_vectors(4, seed=1), 20, only=SearchFilter({"rare": True}))[1]
    assert found.sort(dim=1).values.tolist() == [ids[::100].tolist()] * 4


def test_many_paths_cost_no_clause_each(index):
    paths = [f"/pictures/{row}.png" for row in range(400)]
    ids = index.add(unit_vectors(400), metadata=[{"path": path} for path in paths])
    only = SearchFilter({"path": paths[:300]})
    assert "==" not in milvus_condition(only)
    assert index.ids(only).tolist() == ids[:300].tolist()


def test_a_collection_of_an_older_version_is_named(index):
    index._client.create_collection(index._name, dimension=16)
    with pytest.raises(IndexMismatchError, match="older version"):
        index.add(unit_vectors(1))


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(
        IndexUnavailableError, match=r"127\.0\.0\.1:1.*next call connects anew"
    ) as caught:
        MilvusIndex("http://me:secret@127.0.0.1:1?collection=pictures&timeout=1")
    assert "secret" not in str(caught.value)


def test_a_server_that_goes_away_is_named_and_found_again(index):
    ids = index.add(unit_vectors(5))
    index.save()
    server_manager_instance.release_server(file_of(index))
    with pytest.raises(IndexUnavailableError, match=r"pictures\.db.*next call connects anew"):
        index.search(unit_vectors(1), 1)
    assert index.search(unit_vectors(1), 1)[1].tolist() == [[int(ids[0])]]


def test_a_file_that_another_process_has_open_is_refused(index):
    index.add(unit_vectors(5))
    code = "import sys; from rsctir_hf.vector_index import opening as o; o.open_index(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, index.uri], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "IndexUnavailableError" in done.stderr and "no other process has the file" in done.stderr
    assert len(index) == 5


def test_a_folder_is_refused(index, tmp_path):
    with pytest.raises(UnsupportedError, match="not in a folder"):
        index.save(tmp_path)
