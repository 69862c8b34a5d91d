"""The repositories of a Hub in memory: branches, commits and files, and who may see them."""

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from fastapi.responses import JSONResponse

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".arrow", ".onnx", ".jpg", ".png")
WHEN = "2026-01-01T00:00:00.000Z"
MAIN = "main"


class Account(NamedTuple):
    """Who holds a token: a name, the organisations he may read privately, and whether he writes."""

    name: str
    orgs: tuple[str, ...] = ()
    writes: bool = False


class Blob(NamedTuple):
    """The content of a file, and whether it is kept as a large file."""

    content: bytes
    large: bool

    @property
    def oid(self):
        header = b"" if self.large else f"blob {len(self.content)}\0".encode()
        return (hashlib.sha256 if self.large else hashlib.sha1)(header + self.content).hexdigest()


@dataclass
class Repository:
    """One repository: branch -> commit, commit -> file -> blob."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    sdk: str | None = None
    hardware: str | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.commit(MAIN, {})

    def commit(self, branch, files):
        parent = self.branches.get(branch, "")
        digest = hashlib.sha1(f"{self.kind}{self.name}{branch}{parent}{len(self.commits)}".encode())
        self.branches[branch] = digest.hexdigest()
        self.commits[digest.hexdigest()] = files
        return digest.hexdigest()

    def resolve(self, revision):
        """Return the commit of a branch or (shortened) commit, or None."""
        if revision in self.branches:
            return self.branches[revision]
        found = [sha for sha in self.commits if len(revision) > 6 and sha.startswith(revision)]
        return found[0] if found else None


class RefusalError(Exception):
    """An answer other than the one asked for."""

    def __init__(self, status, code="", message="", commit=""):
        super().__init__(message or code)
        self.status = status
        self.headers = {"X-Error-Message": message or code}
        self.headers |= {"X-Error-Code": code} if code else {}
        self.headers |= {"X-Repo-Commit": commit} if commit else {}


class Hub:
    """The state behind the endpoints, which a test may look at and change.

    ``faults`` maps (repository, file) to ``cut`` or ``short``; ``served`` counts the bytes that
    were sent of each file; ``requests`` lists method and path.
    """

    def __init__(self):
        self.accounts = {}
        self.repositories = {}
        self.blobs = {}
        self.faults = {}
        self.served = Counter()
        self.requests = []
        self.url = ""

    def repository(self, kind, name):
        return self.repositories[kind, name]

    def account(self, request):
        """Return who asks, or None; a token nobody holds is refused whatever it asks for."""
        words = request.headers.get("authorization", "").split()
        if not words:
            return None
        if words[-1] not in self.accounts:
            raise RefusalError(401, message="Invalid credentials in Authorization header")
        return self.accounts[words[-1]]

    def open(self, request, kind, name, *, content=False, write=False):
        """Return a repository that the asker may use so.

        What he may not see does not exist; of a gated repository everybody sees the outside.
        """
        account = self.account(request)
        repository = self.repositories.get((kind, name))
        member = account is not None and name.split("/")[0] in (account.name, *account.orgs)
        if repository is None or (repository.private and not member):
            if account is None:
                raise RefusalError(401, message="Invalid username or password.")
            raise RefusalError(404, "RepoNotFound", "Repository not found")
        if write and not (member and account.writes):
            raise RefusalError(403, message="You don't have the required permissions")
        if content and repository.gated and not member:
            raise RefusalError(
                403 if account else 401, "GatedRepo", f"Access to {name} is restricted"
            )
        return repository

    def create(self, request, wanted):
        account = self.account(request)
        kind = wanted.get("type") or "model"
        if account is None:
            raise RefusalError(401, message="Invalid username or password.")
        owner = wanted.get("organization") or account.name
        name = f"{owner}/{wanted['name']}"
        if not account.writes or owner not in (account.name, *account.orgs):
            raise RefusalError(403, message=f"You may not create {name}")
        answer = {"url": f"{self.url}/{'' if kind == 'model' else kind + 's/'}{name}", "name": name}
        if (kind, name) in self.repositories:
            return JSONResponse({**answer, "error": "You already created it"}, status_code=409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        made = Repository(kind, name, private=bool(private), sdk=wanted.get("sdk"))
        self.repositories[kind, name] = made
        return answer

    def put(self, kind, name, files, *, branch=MAIN):
        """Commit files (path -> bytes) without a client."""
        repository = self.repositories.setdefault((kind, name), Repository(kind, name))
        tree = dict(repository.commits[repository.branches.get(branch, repository.branches[MAIN])])
        tree |= {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        return repository.commit(branch, tree)


def revision_of(repository, revision):
    sha = repository.resolve(revision)
    if sha is None:
        raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return sha


def changed(tree, lines, blobs):
    """Return ``tree`` after the operations of a commit."""
    tree = dict(tree)
    for line in lines:
        key, value = line["key"], line["value"]
        if key == "file":
            tree[value["path"]] = Blob(base64.b64decode(value["content"]), large=False)
        elif key == "lfsFile":
            tree[value["path"]] = Blob(blobs[value["oid"]], large=True)
        elif key == "deletedFile":
            tree.pop(value["path"], None)
        elif key == "deletedFolder":
            inside = value["path"].rstrip("/") + "/"
            tree = {path: blob for path, blob in tree.items() if not path.startswith(inside)}
    return tree


def entry(path, blob):
    large = {"oid": blob.oid, "size": len(blob.content), "pointerSize": 134}
    return {
        "type": "file",
        "path": path,
        "size": len(blob.content),
        "oid": blob.oid,
        "lastCommit": {"id": "0" * 40, "title": "a commit", "date": WHEN},
        **({"lfs": large} if blob.large else {}),
    }


def listing(tree, folder, *, recursive):
    """List files, and folders, directly below ``folder`` or at any depth."""
    inside = f"{folder.strip('/')}/" if folder.strip("/") else ""
    files, folders = [], {}
    for path, blob in sorted(tree.items()):
        if not path.startswith(inside):
            continue
        parts = path[len(inside) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            name = inside + "/".join(parts[:depth])
            folders[name] = {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
        if recursive or len(parts) == 1:
            files.append(entry(path, blob))
    return [*folders.values(), *files]
