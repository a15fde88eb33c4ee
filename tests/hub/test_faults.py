"""What can go wrong on the way to the Hub, at every request of a push: results stay, and one command pushes again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, TRIES_CUTS_AGAIN, WAITS_AS_TOLD, Fault, HubServer
from processes import run_python
from table_files import write_table
from tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer


WORKER = Path(__file__).with_name("worker.py")
# The requests of a push, in their order.
REQUESTS = [
    "POST /api/repos/create",
    "GET /user/model/resolve/main/README.md",
    "POST /api/validate-yaml",
    "POST /api/models/user/model/preupload/main",
    "POST /user/model.git/info/lfs/objects/batch",
    "PUT /lfs/",
    "POST /api/models/user/model/commit/main",
]
FAULTS = {
    "401": {"status": 401},
    "403": {"status": 403},
    "404": {"status": 404},
    "409": {"status": 409},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "cut": {"cut": True},
}
# A repository that exists already answers 409 to its creation: no fault.
HARMLESS = {("POST /api/repos/create", "409")}
# Each request fails in two or three ways, each way at two or three requests; the other pairs are deep.
PAIRS = [
    pytest.param(line, kind, marks=() if (row + column) % 3 == 0 else pytest.mark.deep)
    for row, line in enumerate(REQUESTS)
    for column, kind in enumerate(FAULTS)
]
TRIED_AGAIN = {"429", "500", "503"} | ({"cut"} if TRIES_CUTS_AGAIN else set())


class Worker:
    """A process that runs commands, see `worker.py`."""

    def __init__(self, hub, home):
        home.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            env={**hub.environment(home), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words, has_token=True):
        self.process.stdin.write(json.dumps([[str(word) for word in words], has_token]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(120)


@pytest.fixture(scope="module")
def server():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def worker(server, tmp_path_factory):
    worker = Worker(server, tmp_path_factory.mktemp("worker") / "home")
    yield worker
    worker.close()


@pytest.fixture
def hub(server):
    yield server
    server.faults.clear()
    server.repos.clear()
    server.blobs.clear()
    server.requests.clear()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    generator = np.random.default_rng(0)
    rows = [
        {"text": " ".join(f"w{n}" for n in generator.integers(0, VOCAB_SIZE - 5, 6)), "label": i % 3}
        for i in range(24)
    ]
    files = [write_table(folder / "train.csv", rows[:12]), write_table(folder / "dev.csv", rows[12:])]
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    return [f"--train_file={files[0]}", f"--validation_file={files[1]}", f"--model_name_or_path={folder / 'base'}"]


def training(texts, out, *more):
    common = ["--use_cpu=true", "--max_seq_length=16", "--logging_steps=1", "--disable_tqdm=true", "--max_steps=4"]
    return ["train-text", *texts, *common, "--do_train", "--do_eval", f"--output_dir={out}", *more]


@pytest.fixture(scope="module")
def trained(texts, tmp_path_factory):
    """The folder of a finished run that was not pushed."""
    from mixtext_hf.cli.main import main

    out = tmp_path_factory.mktemp("trained") / "out"
    main(training(texts, out, "--save_strategy=no"))
    return out


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "model")


def state(folder):
    """What a folder holds, but for the card, which is written for the repository before it is pushed."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }


def test_the_requests_of_a_push_are_those_that_fail_below(hub, worker, folder):
    done = worker("push", folder, "--hub_model_id=model")
    assert done["status"] == 0, done["err"]
    seen = list(dict.fromkeys(re.sub("PUT /lfs/.*", "PUT /lfs/", line) for line in hub.requests))
    assert seen == REQUESTS


@pytest.mark.parametrize("request_line, kind", PAIRS)
def test_a_push_that_fails_leaves_all_as_it_was(hub, worker, folder, request_line, kind):
    assert worker("push", folder, "--hub_model_id=user/model")["status"] == 0
    undisturbed = dict(hub.repos["user/model"].files)
    hub.repos.clear()
    hub.blobs.clear()
    before = state(folder)

    hub.faults.append(Fault(request_line, **FAULTS[kind]))
    done = worker("push", folder, "--hub_model_id=user/model")
    assert state(folder) == before
    if (request_line, kind) in HARMLESS:
        pytest.skip("the client takes it for a repository that exists")
    commits = hub.repos["user/model"].commits if "user/model" in hub.repos else []
    assert done["status"] == 1, done
    assert [commit.message for commit in commits] in ([], ["initial commit"])
    error = done["err"][done["err"].index("Pushing ") if "Pushing " in done["err"] else 0 :]
    path = request_line.split()[1]
    assert path in error or kind == "cut", error
    if kind != "cut":
        assert FAULTS[kind]["status"] and str(FAULTS[kind]["status"]) in error
    assert TOKEN not in done["err"] + done["out"]

    hub.faults.clear()
    again = re.findall("Push again by: (mixtext-hf push .*)", error)
    assert len(again) == 1, error
    assert worker(*shlex.split(again[0])[1:])["status"] == 0
    assert hub.repos["user/model"].files == undisturbed


@pytest.mark.parametrize("kind", sorted(TRIED_AGAIN))
@pytest.mark.parametrize("request_line", [REQUESTS[1], *REQUESTS[4:6]])
def test_what_passes_by_itself_is_tried_again(hub, worker, folder, request_line, kind):
    fault = Fault(request_line, **FAULTS[kind], times=1)
    hub.faults.append(fault)
    done = worker("push", folder, "--hub_model_id=user/model")
    assert done["status"] == 0, done["err"]
    assert fault.seen >= 2
    if kind == "429" and WAITS_AS_TOLD:
        assert "Waiting 2.0s" in done["err"]


def test_a_slow_hub_is_waited_for(hub, worker, folder):
    hub.faults.append(Fault("", seconds=0.3))
    assert worker("push", folder, "--hub_model_id=user/model")["status"] == 0
    assert hub.repos["user/model"].commits[-1].message == "Push model"


@pytest.mark.parametrize(
    "request_line, kind",
    [
        *((REQUESTS[-1], kind) for kind in ("403", "500", "cut")),
        *(pytest.param(REQUESTS[-1], kind, marks=pytest.mark.deep) for kind in ("401", "404", "409", "429", "503")),
        *((line, "503") for line in REQUESTS[1:-1:2]),
        *(pytest.param(line, "503", marks=pytest.mark.deep) for line in REQUESTS[2:-1:2]),
    ],
)
def test_training_outlives_every_fault(hub, worker, texts, tmp_path, request_line, kind):
    out = tmp_path / "out"
    pushed = ["--push_to_hub", "--hub_model_id=user/model", "--hub_strategy=every_save", "--save_steps=2"]
    hub.faults.append(Fault(request_line, **FAULTS[kind]))
    done = worker(*training(texts, out, *pushed))
    assert done["status"] == 1, done["err"]
    # Everything that a run leaves is there, as if nothing had happened.
    assert json.loads((out / "all_results.json").read_text())["eval_samples"] == 12
    assert json.loads((out / "trainer_state.json").read_text())["global_step"] == 4
    for name in ("model.safetensors", "config.json", "tokenizer.json", "README.md", "run.json", "training_curve.png"):
        assert (out / name).is_file(), name
    assert (out / "checkpoint-4" / "optimizer.pt").is_file()
    assert not list(out.glob("_push-*"))
    assert "Training goes on" in done["err"]
    assert TOKEN not in done["err"] + done["out"]
    hub.faults.clear()
    again = re.findall("Push again by: (mixtext-hf push .*)", done["err"])
    assert worker(*shlex.split(again[-1])[1:])["status"] == 0
    files = hub.repos["user/model"].files
    assert files["model.safetensors"] == (out / "model.safetensors").read_bytes()
    assert files["README.md"] == (out / "README.md").read_bytes()


@pytest.mark.parametrize("kind", sorted(set(FAULTS) - {"409"}))
def test_a_repository_that_cannot_be_opened_is_said_before_training(hub, worker, texts, tmp_path, kind):
    hub.faults.append(Fault("POST /api/repos/create", **FAULTS[kind]))
    out = tmp_path / "out"
    done = worker(*training(texts, out, "--push_to_hub", "--hub_model_id=user/model"))
    assert done["status"] == 1 and "could not be opened" in done["err"], done["err"]
    assert not out.exists()


def test_a_missing_token_is_said_before_anything_is_loaded(hub, worker, texts, tmp_path):
    out = tmp_path / "out"
    broken = [word.replace("base", "no-such-model") for word in texts]
    done = worker(*training(broken, out, "--push_to_hub", "--hub_model_id=user/model"), has_token=False)
    assert done["status"] == 2
    for remedy in ("hf auth login", "HF_TOKEN", "hub_token", "mixtext-hf push FOLDER"):
        assert remedy in done["err"]
    assert not out.exists() and hub.requests == []
    done = worker("push", Path(texts[-1].split("=")[1]), "--hub_model_id=user/model", has_token=False)
    assert done["status"] == 2 and "hf auth login" in done["err"] and hub.requests == []


# ---- cards that somebody wrote ----


def test_a_card_edited_on_the_hub_stays(hub, worker, folder):
    assert worker("push", folder, "--hub_model_id=user/model")["status"] == 0
    repo = hub.repos["user/model"]
    edited = repo.files["README.md"].replace(b"## ", b"## My own ", 1)
    repo.commit("edited on the site", {**repo.files, "README.md": edited})
    done = worker("push", folder, "--hub_model_id=user/model", "--commit_message=again")
    assert done["status"] == 0 and "--overwrite_card" in done["err"]
    assert hub.repos["user/model"].files["README.md"] == edited
    asked = worker("push", folder, "--hub_model_id=user/model", "--overwrite_card")
    assert asked["status"] == 0, asked["err"]
    assert hub.repos["user/model"].files["README.md"] == (folder / "README.md").read_bytes() != edited


def test_a_card_written_in_the_folder_is_pushed_as_it_is(hub, worker, folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\nMine.\n")
    assert worker("push", folder, "--hub_model_id=user/model")["status"] == 0
    assert hub.repos["user/model"].files["README.md"] == b"---\nlicense: mit\n---\n\nMine.\n"


def test_the_card_names_the_repository_that_it_is_pushed_to(hub, worker, folder):
    assert "user/other" not in (folder / "README.md").read_text()
    assert worker("push", folder, "--hub_model_id=user/other")["status"] == 0
    assert 'pipeline("text-classification", "user/other")' in hub.repos["user/other"].files["README.md"].decode()


def test_a_card_can_be_looked_at_before(hub, worker, folder):
    (folder / "README.md").unlink()
    done = worker("push", folder, "--hub_model_id=user/later", "--card_only")
    assert done["status"] == 0 and hub.requests == []
    assert 'pipeline("text-classification", "user/later")' in (folder / "README.md").read_text()


def test_a_folder_without_a_card_gets_one_of_its_config(hub, worker, folder):
    for name in ("README.md", "run.json"):
        (folder / name).unlink()
    assert worker("push", folder, "--hub_model_id=user/model")["status"] == 0
    card = hub.repos["user/model"].files["README.md"].decode()
    assert "tmix" in card and 'pipeline("text-classification", "user/model")' in card


# ---- what is refused, and what is left out ----


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda folder: shutil.rmtree(folder), "does not exist"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "no weights as safetensors",
        ),
        (lambda folder: (folder / "run.json").write_text("{"), "run.json is no JSON"),
    ],
    ids=["no folder", "no config", "pickles", "no record"],
)
def test_a_folder_that_cannot_be_pushed_is_refused_without_a_request(hub, worker, folder, break_it, words):
    break_it(folder)
    done = worker("push", folder, "--hub_model_id=user/model")
    assert done["status"] == 2 and words in done["err"]
    assert hub.requests == []


@pytest.mark.parametrize("name", ["a/b/c", "no spaces", "-x", "a--b"])
def test_a_name_that_no_repository_can_have_is_refused(hub, worker, folder, name):
    done = worker("push", folder, f"--hub_model_id={name}")
    assert done["status"] == 2 and name in done["err"] and hub.requests == []


def test_only_the_checkpoint_leaves_the_folder(hub, worker, folder):
    (folder / "checkpoint-9").mkdir()
    for name in ("notes.md", ".env", "secrets.yaml", "data.parquet", "weights.bin", "checkpoint-9/model.safetensors"):
        (folder / name).write_text(TOKEN)
    assert (folder / "training_args.bin").is_file()
    assert worker("push", folder, "--hub_model_id=user/model")["status"] == 0
    files = hub.repos["user/model"].files
    assert not {"notes.md", ".env", "secrets.yaml", "data.parquet", "weights.bin", "training_args.bin"} & set(files)
    assert not any(TOKEN.encode() in content for content in files.values())


NO_NETWORK = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError(f"a connection to {args[1:]} was tried")
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
from mixtext_hf.cli.main import main
main()
"""


def test_a_run_that_does_not_push_asks_the_network_nothing(server, texts, tmp_path):
    environment = server.environment(tmp_path / "home")
    del environment["HF_ENDPOINT"]
    words = training(texts, tmp_path / "out", "--save_strategy=no")
    done = run_python(NO_NETWORK, *words, environment=environment)
    assert done.returncode == 0 and "was tried" not in done.stderr, done.stderr
    assert (tmp_path / "out" / "README.md").is_file()
