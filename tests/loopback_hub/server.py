"""A Hugging Face Hub in memory, on a free port of this machine, for clients in other processes.

It answers what huggingface_hub, transformers and datasets ask for: repositories with branches and
commits, uploads (regular and LFS), downloads with ranges, tokens, private and gated repositories.
Two faults can be switched on for a file: a connection cut half-way and content cut short. There is
no Xet, no pull request and no web page.
"""

import asyncio
import hashlib
import json
import threading

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tests.loopback_hub.repositories import (
    LFS_SUFFIXES,
    MAIN,
    WHEN,
    Hub,
    RefusalError,
    changed,
    entry,
    listing,
    revision_of,
)

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}

router = APIRouter()


def hub_of(request):
    return request.app.state.hub


def repository_of(request, **use):
    """Return the repository that the path of a request names."""
    named = request.path_params
    kind = KINDS[named.get("kinds", "models")]
    return hub_of(request).open(request, kind, f"{named['owner']}/{named['name']}", **use)


@router.post("/api/repos/create")
async def create(request: Request):
    return hub_of(request).create(request, await request.json())


@router.post("/api/validate-yaml")
def validate_yaml():
    return {"errors": [], "warnings": []}


@router.put("/faults")
async def set_fault(request: Request):
    """Serve a file well, cut or short from here on; only this Hub has such an endpoint."""
    wanted = await request.json()
    hub_of(request).faults[wanted["repository"], wanted["file"]] = wanted["fault"]
    return {}


@router.get("/api/whoami-v2")
def whoami(request: Request):
    account = hub_of(request).account(request)
    if account is None:
        raise RefusalError(401, message="Invalid username or password.")
    return {
        "type": "user",
        "name": account.name,
        "orgs": [{"name": org} for org in account.orgs],
        "auth": {"accessToken": {"role": "write" if account.writes else "read"}},
    }


@router.get("/api/{kinds}/{owner}/{name}")
def info(request: Request):
    return describe(request, MAIN)


@router.get("/api/{kinds}/{owner}/{name}/revision/{revision}")
def describe(request: Request, revision: str):
    repository = repository_of(request)
    sha = revision_of(repository, revision)
    return {
        "_id": "0" * 24,
        "id": repository.name,
        "sha": sha,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "lastModified": WHEN,
        "createdAt": WHEN,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [{"rfilename": path} for path in repository.commits[sha]],
    }


@router.get("/api/{kinds}/{owner}/{name}/refs")
def refs(request: Request):
    repository = repository_of(request)
    branches = [
        {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": sha}
        for branch, sha in repository.branches.items()
    ]
    return {"branches": branches, "tags": [], "converts": []}


@router.post("/api/{kinds}/{owner}/{name}/branch/{branch}")
async def create_branch(request: Request, branch: str):
    repository = repository_of(request, write=True)
    if branch in repository.branches:
        raise RefusalError(409, message=f"Reference already exists: refs/heads/{branch}")
    wanted = json.loads(await request.body() or b"{}")
    start = revision_of(repository, wanted.get("startingPoint") or MAIN)
    repository.branches[branch] = start
    return {}


@router.post("/api/{kinds}/{owner}/{name}/variables")
async def set_variable(request: Request):
    repository, wanted = repository_of(request, write=True), await request.json()
    repository.variables[wanted["key"]] = wanted["value"]
    return {key: {"value": value} for key, value in repository.variables.items()}


@router.post("/api/{kinds}/{owner}/{name}/hardware")
async def set_hardware(request: Request):
    repository = repository_of(request, write=True)
    repository.hardware = (await request.json())["flavor"]
    return {"stage": "BUILDING", "hardware": {"requested": repository.hardware}}


@router.get("/api/{kinds}/{owner}/{name}/tree/{revision}")
@router.get("/api/{kinds}/{owner}/{name}/tree/{revision}/{path:path}")
def tree(
    request: Request,
    revision: str,
    path: str = "",
    recursive: bool = False,
):
    repository = repository_of(request)
    sha = revision_of(repository, revision)
    found = listing(repository.commits[sha], path, recursive=recursive)
    if path and not found:
        raise RefusalError(404, "EntryNotFound", f"{path} does not exist", sha)
    return found


@router.post("/api/{kinds}/{owner}/{name}/paths-info/{revision}")
async def paths_info(request: Request, revision: str):
    repository = repository_of(request)
    tree = repository.commits[revision_of(repository, revision)]
    form = await request.form() if "form" in request.headers["content-type"] else None
    paths = form.getlist("paths") if form else (await request.json())["paths"]
    return [entry(path, tree[path]) for path in paths if path in tree]


@router.post("/api/{kinds}/{owner}/{name}/preupload/{revision}")
async def preupload(request: Request, revision: str):
    repository = repository_of(request, write=True)
    revision_of(repository, revision)
    answers = [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
            "shouldIgnore": False,
            "oid": None,
        }
        for file in (await request.json())["files"]
    ]
    return {"files": answers}


@router.post("/{owner}/{name}.git/info/lfs/objects/batch")
@router.post("/{kinds}/{owner}/{name}.git/info/lfs/objects/batch")
async def batch(request: Request):
    hub = hub_of(request)
    repository_of(request, write=True)
    answers = []
    for wanted in (await request.json())["objects"]:
        action = {"upload": {"href": f"{hub.url}/blobs/{wanted['oid']}"}}
        known = wanted["oid"] in hub.blobs
        answers.append(wanted if known else {**wanted, "actions": action})
    return {"transfer": "basic", "objects": answers}


@router.put("/blobs/{oid}")
async def put(request: Request, oid: str):
    content = await request.body()
    if hashlib.sha256(content).hexdigest() != oid:
        raise RefusalError(400, message="the content does not have this hash")
    hub_of(request).blobs[oid] = content
    return {}


@router.post("/api/{kinds}/{owner}/{name}/commit/{revision}")
async def commit(request: Request, revision: str):
    repository = repository_of(request, write=True)
    revision_of(repository, revision)
    lines = [json.loads(line) for line in (await request.body()).splitlines() if line]
    before = repository.commits[repository.branches[revision]]
    hub = hub_of(request)
    sha = repository.commit(revision, changed(before, lines, hub.blobs))
    return {"commitUrl": f"{hub.url}/{repository.name}/commit/{sha}", "commitOid": sha}


def byte_range(request, size):
    """Return (start, end) of the ``Range`` header, or None."""
    header = request.headers.get("range")
    if not header:
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return size - int(last), size
    return int(first), min(size, int(last) + 1 if last else size)


async def broken_off(content):
    """Send half of ``content`` and close the connection."""
    yield content[: len(content) // 2]
    await asyncio.sleep(0.05)  # so that the half has left before the connection goes


@router.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
@router.api_route("/{kinds}/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def download(request: Request, revision: str, path: str):
    hub = hub_of(request)
    repository = repository_of(request, content=True)
    sha = revision_of(repository, revision)
    if path not in repository.commits[sha]:
        raise RefusalError(404, "EntryNotFound", f"{path} does not exist", sha)
    blob = repository.commits[sha][path]
    whole = blob.content
    headers = {"X-Repo-Commit": sha, "ETag": f'"{blob.oid}"', "Accept-Ranges": "bytes"}
    if blob.large:
        headers |= {"X-Linked-Size": str(len(whole)), "X-Linked-Etag": f'"{blob.oid}"'}
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(len(whole))})
    asked = byte_range(request, len(whole))
    start, end = asked or (0, len(whole))
    content, status = whole[start:end], 206 if asked else 200
    if asked:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(whole)}"
    fault = hub.faults.get((repository.name, path))
    if fault == "short":
        content = content[: len(content) // 2]
    hub.served[repository.name, path] += len(content)
    headers["Content-Length"] = str(len(content))
    if fault == "cut":
        # What is asked for anew comes to nothing, or a patient client would get it all.
        half = broken_off(b"" if asked else content)
        return StreamingResponse(half, status_code=status, headers=headers)
    return Response(content, status_code=status, headers=headers)


def make_app(hub):
    app = FastAPI()
    app.state.hub = hub

    @app.exception_handler(RefusalError)
    def refuse(request: Request, refusal: RefusalError):
        answer = {"error": str(refusal)}
        return JSONResponse(answer, status_code=refusal.status, headers=refusal.headers)

    @app.middleware("http")
    async def note(request: Request, call_next):
        hub.requests.append(f"{request.method} {request.url.path}")
        return await call_next(request)

    app.include_router(router)
    return app


class Running:
    """A Hub that serves from a thread for the length of a ``with`` block."""

    def __init__(self):
        self.hub = Hub()
        config = uvicorn.Config(make_app(self.hub), port=0, log_level="critical", lifespan="off")
        self.server = uvicorn.Server(config)

    def __enter__(self):
        socket = self.server.config.bind_socket()
        self.hub.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.server.run, args=([socket],), daemon=True)
        self.thread.start()
        return self.hub

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(timeout=10)
