"""The local Hub answers the real client as the Hub does, and fails on demand."""

from __future__ import annotations

import json

import pytest
from hub_server import TOKEN, TRIES_CUTS_AGAIN, Fault, HubServer
from processes import run_python
from tiny import tiny_model, tiny_tokenizer


PUSH = """
import json, sys
from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError
folder, repo = sys.argv[1:3]
api = HfApi()
try:
    url = api.create_repo(repo, private=len(sys.argv) > 3, exist_ok=True)
    commit = api.upload_folder(repo_id=url.repo_id, folder_path=folder, commit_message="a push")
except HfHubHTTPError as error:
    sys.exit(f"{error.response.status_code} {error.response.request.method} {error.response.request.url.path}")
print(json.dumps([url.repo_id, commit.oid]))
"""
LOAD = """
import sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
inputs = AutoTokenizer.from_pretrained(sys.argv[1])(["w1 w2 w3"], return_tensors="pt")
print(model(**inputs).logits.detach().tolist()[0])
"""


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model("bert").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def run(hub, home, code, *argv, **options):
    return run_python(code, *argv, environment=hub.environment(home, **options), timeout=120)


def test_what_is_pushed_is_loaded_by_another_process(hub, checkpoint, tmp_path):
    done = run(hub, tmp_path / "one", PUSH, checkpoint, "model")
    assert done.returncode == 0, done.stderr
    repo, oid = json.loads(done.stdout)
    assert repo == "user/model" and hub.repos[repo].commits[-1].oid == oid
    assert hub.repos[repo].commits[-1].message == "a push"
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    assert hub.repos[repo].files == {**files, ".gitattributes": hub.repos[repo].files[".gitattributes"]}
    assert any(line.startswith("PUT /lfs/") for line in hub.requests)

    loaded = run(hub, tmp_path / "two", LOAD, repo, token=None)
    assert loaded.returncode == 0, loaded.stderr
    model, inputs = tiny_model("bert").eval(), tiny_tokenizer()(["w1 w2 w3"], return_tensors="pt")
    assert json.loads(loaded.stdout.splitlines()[-1]) == pytest.approx(model(**inputs).logits[0].tolist(), abs=1e-5)


def test_a_private_repository_is_hidden_from_strangers(hub, checkpoint, tmp_path):
    assert run(hub, tmp_path / "one", PUSH, checkpoint, "secret", "private").returncode == 0
    assert hub.repos["user/secret"].private and TOKEN in hub.tokens
    stranger = run(hub, tmp_path / "two", LOAD, "user/secret", token=None)
    assert stranger.returncode != 0 and "user/secret" in stranger.stderr


@pytest.mark.parametrize(
    "fault, answer",
    [
        (Fault("POST /api/repos/create", 401), "401 POST /api/repos/create"),
        (Fault("POST /api/repos/create", 403), "403 POST /api/repos/create"),
        (Fault("preupload", 404), "404 POST /api/models/user/model/preupload/main"),
        (Fault("commit/main", 409), "409 POST /api/models/user/model/commit/main"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_reaches_the_client(hub, checkpoint, tmp_path, fault, answer):
    hub.faults.append(fault)
    done = run(hub, tmp_path / "home", PUSH, checkpoint, "user/model")
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == answer
    assert all(commit.message != "a push" for repo in hub.repos.values() for commit in repo.commits)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("info/lfs/objects/batch", 503, times=1),
        Fault("PUT /lfs", 500, times=1),
        Fault("PUT /lfs", 429, headers={"Retry-After": "1"}, times=1),
        pytest.param(
            Fault("PUT /lfs", cut=True, times=1),
            marks=pytest.mark.skipif(not TRIES_CUTS_AGAIN, reason="huggingface_hub before 1.21 gives up"),
        ),
        Fault("preupload", seconds=0.5),
    ],
    ids=["503", "500", "429", "cut", "slow"],
)
def test_what_passes_by_itself_is_tried_again(hub, checkpoint, tmp_path, fault):
    hub.faults.append(fault)
    done = run(hub, tmp_path / "home", PUSH, checkpoint, "user/model")
    assert done.returncode == 0, done.stderr
    assert hub.repos["user/model"].commits[-1].message == "a push"
    assert fault.seen >= (1 if fault.status is None and not fault.cut else 2)
