"""Downloads against a hub on 127.0.0.1: layout, checks, resume, and what a user is told when it fails."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from corpus.errors import FetchError, RecipeError
from corpus.sources import fetch as fetching
from corpus.sources import hub as hubs
from corpus.sources.base import Files, Hub, Source
from corpus.sources.fetch import Fetched, Step, bars, failure, fetch
from corpus.sources.found import scan
from corpus.sources.hub import Settings
from corpus.sources.shapes import alpaca
from tests.sources.hub_server import COMMIT, HubServer, Repo, serving

SMALL = '{"instruction": "你好"}\n'.encode()
LARGE = bytes(range(256)) * 1200


def source(name: str, *globs: str, hub: Hub | None, **more: Any) -> Source:
    address = f"https://example.org/{name}"
    return Source(name, "a toy", address, "MIT", name, tuple(Files(g) for g in globs), alpaca(), hub=hub, **more)


SOURCES = {
    s.name: s
    for s in (
        source("toy", "toy_*.json", "train.parquet", hub=Hub("org/toy", ("*.json", "data/*.parquet"))),
        source("narrow", "narrow.json", hub=Hub("org/narrow")),
        source("gated", "gated.json", hub=Hub("org/gated")),
        source("single", "single-0*.json", hub=Hub("org/single", ("en/single-00.json",))),
        source("paper", "paper.csv", hub=None, obtain="sign the form first"),
    )
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hubs.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving() as server:
        server.repos["org/toy"] = Repo(
            {
                "README.md": b"# toy",
                ".gitattributes": b"",
                "toy_a.json": SMALL,
                "deep/toy_b.json": SMALL * 2,
                "data/train.parquet": LARGE,
                "other/train.parquet": b"not asked for",
            },
            lfs={"data/train.parquet"},
        )
        server.repos["org/narrow"] = Repo({"narrow.json": SMALL, "wide.json": SMALL})
        server.repos["org/gated"] = Repo({"gated.json": SMALL}, gated=True)
        yield server


def run(server: HubServer, data: Path, *names: str, timeout: float = 5.0, attempts: int = 2, **more: Any) -> list[Fetched]:
    return fetch(names, data, SOURCES, settings=Settings(server.url, timeout, attempts, 0.0), **more)


def failed(server: HubServer, data: Path, name: str = "toy", **more: Any) -> str:
    (result,) = run(server, data, name, **more)
    assert not result.ok
    assert isinstance(result.error, FetchError)
    assert server.url in str(result.error)
    return str(result.error)


def partials(data: Path) -> list[Path]:
    return sorted(data.rglob("*.partial"))


def test_files_land_where_the_build_looks(server: HubServer, tmp_path: Path) -> None:
    (result,) = run(server, tmp_path, "toy")
    assert result.ok
    assert result.commit == COMMIT
    assert {f.path: (f.how, f.checked) for f in result.files} == {
        "toy/data/train.parquet": ("downloaded", "sha256"),
        "toy/deep/toy_b.json": ("downloaded", "git blob id"),
        "toy/toy_a.json": ("downloaded", "git blob id"),
    }
    assert (tmp_path / "toy/data/train.parquet").read_bytes() == LARGE
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == [f.path for f in result.files]
    assert [f.path for f in scan(tmp_path, SOURCES).of("toy")] == [f.path for f in result.files]


def test_everything_is_asked_at_the_one_endpoint_and_of_one_commit(server: HubServer, tmp_path: Path) -> None:
    run(server, tmp_path, "toy")
    assert {r.path.split("/")[1] for r in server.requests} == {"api", "datasets", "storage"}
    assert all(f"/{COMMIT}/" in r.path for r in server.requests if "/resolve/" in r.path)
    assert not any("agent" in r.path or "agent" in r.headers["user-agent"] for r in server.requests)


def test_a_finished_file_is_not_fetched_again(server: HubServer, tmp_path: Path) -> None:
    run(server, tmp_path, "toy")
    server.requests.clear()
    (result,) = run(server, tmp_path, "toy")
    assert {f.how for f in result.files} == {"present"}
    assert [r.path for r in server.requests] == ["/api/datasets/org/toy/revision/main"]


def test_another_file_in_the_place_is_replaced(server: HubServer, tmp_path: Path) -> None:
    run(server, tmp_path, "toy")
    (tmp_path / "toy/toy_a.json").write_bytes(bytes(len(SMALL)))
    (result,) = run(server, tmp_path, "toy")
    assert [f.path for f in result.files if f.how == "replaced"] == ["toy/toy_a.json"]
    assert (tmp_path / "toy/toy_a.json").read_bytes() == SMALL


def test_a_listing_without_sizes_is_completed_by_the_files_own_headers(server: HubServer, tmp_path: Path) -> None:
    server.repos["org/toy"].bare = True
    (result,) = run(server, tmp_path, "toy")
    assert {f.checked for f in result.files} == {"sha256", "git blob id"}
    (again,) = run(server, tmp_path, "toy")
    assert {f.how for f in again.files} == {"present"}


def test_a_listing_without_files_is_completed_by_the_tree(server: HubServer, tmp_path: Path) -> None:
    server.repos["org/toy"].tree = True
    (result,) = run(server, tmp_path, "toy")
    assert {f.path: f.checked for f in result.files} == {
        "toy/data/train.parquet": "sha256",
        "toy/deep/toy_b.json": "git blob id",
        "toy/toy_a.json": "git blob id",
    }


def test_plain_paths_are_fetched_without_a_listing(server: HubServer, tmp_path: Path) -> None:
    server.repos["org/single"] = Repo({"en/single-00.json": SMALL, "en/single-01.json": SMALL}, lfs={"en/single-00.json"})
    (result,) = run(server, tmp_path, "single")
    assert [(f.path, f.how, f.checked) for f in result.files] == [("single/en/single-00.json", "downloaded", "sha256")]
    assert [r.query for r in server.sent("GET", "/api/")] == ["expand=sha"]
    (again,) = run(server, tmp_path, "single")
    assert again.files[0].how == "present"
    del server.repos["org/single"].files["en/single-00.json"]
    assert "there is no" in failed(server, tmp_path, "single")


def test_what_no_source_reads_is_named(server: HubServer, tmp_path: Path) -> None:
    (result,) = run(server, tmp_path, "narrow")
    assert [f.path for f in result.unclaimed] == ["narrow/wide.json"]
    assert "narrow/wide.json: claimed by no source" in str(result)


def test_bars_are_silent_without_a_terminal(server: HubServer, tmp_path: Path) -> None:
    out = io.StringIO()
    with bars(Console(file=out)) as update:
        run(server, tmp_path / "quiet", "toy", progress=update)
    assert out.getvalue() == ""
    with bars(Console(file=out, force_terminal=True, width=120)) as update:
        run(server, tmp_path / "shown", "toy", progress=update)
    assert "train.parquet" in out.getvalue() or "toy_a.json" in out.getvalue()


def test_progress_ends_at_the_total(server: HubServer, tmp_path: Path) -> None:
    steps: list[Step] = []
    run(server, tmp_path, "toy", progress=steps.append)
    total = len(LARGE) + 3 * len(SMALL)
    assert steps[-1].bytes == steps[-1].total == total
    assert [s.bytes for s in steps] == sorted(s.bytes for s in steps)


def test_a_broken_connection_is_resumed_within_a_run(server: HubServer, tmp_path: Path) -> None:
    server.break_after["data/train.parquet"] = 100_000
    (result,) = run(server, tmp_path, "toy")
    assert result.ok
    ranges = [r.headers.get("range") for r in server.sent("GET", "/storage/")]
    assert ranges == [None, "bytes=100000-"]
    assert (tmp_path / "toy/data/train.parquet").read_bytes() == LARGE


def test_a_broken_download_is_resumed_by_the_next_run(server: HubServer, tmp_path: Path) -> None:
    server.break_after["data/train.parquet"] = 100_000
    message = failed(server, tmp_path, attempts=1)
    assert "what came so far is kept" in message
    assert [p.stat().st_size for p in partials(tmp_path)] == [100_000]
    assert scan(tmp_path, SOURCES).files == {}
    (result,) = run(server, tmp_path, "toy")
    assert server.sent("GET", "/storage/")[-1].headers["range"] == "bytes=100000-"
    assert result.files[0].how == "resumed"
    assert (tmp_path / "toy/data/train.parquet").read_bytes() == LARGE
    assert not partials(tmp_path)


def test_damaged_beginnings_are_fetched_anew(server: HubServer, tmp_path: Path) -> None:
    server.break_after["data/train.parquet"] = 100_000
    failed(server, tmp_path, attempts=1)
    partials(tmp_path)[0].write_bytes(bytes(100_000))
    (result,) = run(server, tmp_path, "toy")
    assert result.files[0].how == "downloaded"
    assert (tmp_path / "toy/data/train.parquet").read_bytes() == LARGE


def test_a_server_without_ranges_starts_over(server: HubServer, tmp_path: Path) -> None:
    server.break_after["data/train.parquet"] = 100_000
    server.ignore_ranges = True
    (result,) = run(server, tmp_path, "toy")
    assert result.ok
    assert (tmp_path / "toy/data/train.parquet").read_bytes() == LARGE


def test_a_server_that_always_breaks_and_starts_over_is_given_up(server: HubServer, tmp_path: Path) -> None:
    server.break_after["data/train.parquet"] = 100_000
    server.break_always = server.ignore_ranges = True
    assert "connection broke" in failed(server, tmp_path, attempts=3)


def test_a_killed_download_is_resumed(server: HubServer, tmp_path: Path) -> None:
    server.stall_after["data/train.parquet"] = 150_000
    code = (
        "import sys, pathlib; from tests.sources.test_fetch import SOURCES; from corpus.sources.fetch import fetch;"
        "fetch(['toy'], pathlib.Path(sys.argv[1]), SOURCES)"
    )
    # the endpoint comes from the environment here, as it does for a user behind a mirror
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.getcwd()}
    data = tmp_path / "data"
    child = subprocess.Popen([sys.executable, "-c", code, str(data)], env=environment)
    deadline = time.monotonic() + 20
    while [p.stat().st_size for p in partials(data)] != [150_000] and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.02)
    assert "another process" in failed(server, data)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.stall_after.clear()
    (result,) = run(server, data, "toy")
    assert server.sent("GET", "/storage/")[-1].headers["range"] == "bytes=150000-"
    assert result.files[0].how == "resumed"
    assert (data / "toy/data/train.parquet").read_bytes() == LARGE


def test_other_bytes_than_listed_are_refused(server: HubServer, tmp_path: Path) -> None:
    server.corrupt = True
    assert "do not match the sha256" in failed(server, tmp_path)
    assert not partials(tmp_path)
    assert scan(tmp_path, SOURCES).files == {}


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "..\\evil.json", "C:/evil.json", "a//e.json", "a\n.json"]
)
def test_a_name_that_leaves_the_folder_is_refused(server: HubServer, tmp_path: Path, name: str) -> None:
    server.repos["org/toy"].listed = ["toy_a.json", name]
    assert "could leave the folder" in failed(server, tmp_path / "data")
    assert not list(tmp_path.rglob("*.json"))
    assert not server.sent("GET", "/resolve/")


def test_a_link_that_leaves_the_folder_is_refused(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "data/toy").mkdir(parents=True)
    (tmp_path / "data/toy/deep").symlink_to(tmp_path / "outside")
    assert "through a link" in failed(server, tmp_path / "data")
    assert not list((tmp_path / "outside").iterdir())


def test_a_gated_source(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = failed(server, tmp_path, "gated")
    assert "HTTP 401" in message
    assert "https://huggingface.co/datasets/org/gated" in message
    assert "HF_TOKEN" in message
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "HTTP 403" in failed(server, tmp_path, "gated")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept your token" in failed(server, tmp_path, "gated")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert run(server, tmp_path, "gated")[0].ok


def test_the_token_stays_with_the_hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert run(server, tmp_path, "toy")[0].ok
    assert all(r.headers["authorization"] == "Bearer hf_right" for r in server.sent("GET", "/datasets/"))
    assert server.sent("GET", "/storage/")
    assert not any("authorization" in r.headers for r in server.sent("GET", "/storage/"))


def test_a_repository_a_revision_or_a_file_that_is_not_there(server: HubServer, tmp_path: Path) -> None:
    assert "no such revision" in failed(server, tmp_path, revision="v9")
    server.repos["org/toy"].listed = ["gone.json"]
    assert "gone.json" in failed(server, tmp_path)
    server.repos["org/toy"].listed = ["other.txt"]
    assert "none of its 1 files match" in failed(server, tmp_path)
    del server.repos["org/toy"]
    message = failed(server, tmp_path)
    assert "no such repository" in message
    assert "https://example.org/toy" in message


def test_a_server_in_trouble_is_tried_again(server: HubServer, tmp_path: Path) -> None:
    server.statuses = [(503, {}), (429, {"Retry-After": "0"})]
    assert run(server, tmp_path, "toy", attempts=3)[0].ok
    server.statuses = [(503, {})] * 9
    (tmp_path / "toy/toy_a.json").unlink()
    message = failed(server, tmp_path, attempts=2)
    assert "HTTP 503" in message
    assert "HF_ENDPOINT" in message


def test_a_server_that_never_answers(server: HubServer, tmp_path: Path) -> None:
    server.silent = True
    message = failed(server, tmp_path, timeout=0.2)
    assert "no answer within 0.2 s" in message
    assert "HF_ENDPOINT" in message
    assert f"by hand into {tmp_path / 'toy'}" in message


def test_a_server_that_stops_in_the_middle(server: HubServer, tmp_path: Path) -> None:
    server.stall_after["data/train.parquet"] = 100_000
    assert "no answer within" in failed(server, tmp_path, timeout=0.2, attempts=1)
    assert [p.stat().st_size for p in partials(tmp_path)] == [100_000]


def test_a_login_page_is_no_hub(server: HubServer, tmp_path: Path) -> None:
    server.html = True
    assert "does not answer like a Hugging Face hub" in failed(server, tmp_path)


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{s.getsockname()[1]}"
    for endpoint in (closed, "http://hub.invalid"):
        (result,) = fetch(["toy"], tmp_path, SOURCES, settings=Settings(endpoint, 2.0, 2, 0.0))
        assert "cannot be reached" in str(result.error)
        assert "https://huggingface.co/datasets/org/toy by hand into" in str(result.error)


def test_offline_mode_is_named(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in failed(server, tmp_path)


def test_the_endpoint_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com/")
    assert Settings.from_environment().endpoint == "https://hf-mirror.com"
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.com")
    with pytest.raises(FetchError, match=r"HF_ENDPOINT is 'hf-mirror.com', expected"):
        Settings.from_environment()
    monkeypatch.delenv("HF_ENDPOINT")
    assert Settings.from_environment().endpoint == "https://huggingface.co"


def test_a_disk_too_small_is_seen_before_the_download(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(fetching.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    message = failed(server, tmp_path)
    assert "full" in message
    assert f"{len(LARGE) + 3 * len(SMALL):,} bytes are to come" in message
    assert not server.sent("GET", "/resolve/")


@pytest.mark.parametrize(("code", "found"), [(errno.ENOSPC, "is full"), (errno.EROFS, "cannot be written"), (errno.EIO, "see to the disk")])
def test_a_disk_that_refuses(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, found: str) -> None:
    def refuse(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(hubs, "_write", refuse)
    assert found in failed(server, tmp_path)


def test_things_in_the_way(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("a file where the folder belongs")
    assert "is in the way" in failed(server, tmp_path)
    (tmp_path / "toy").unlink()
    (tmp_path / "toy/toy_a.json").mkdir(parents=True)
    assert "is in the way" in failed(server, tmp_path)


def test_a_read_only_folder(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *args: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))  # root is never refused, so not by the true system

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert f"{tmp_path / 'toy'} cannot be written (Permission denied)" in failed(server, tmp_path)


def test_a_source_that_is_not_on_a_hub(server: HubServer, tmp_path: Path) -> None:
    (result,) = run(server, tmp_path, "paper")
    assert not result.ok
    assert "https://example.org/paper" in result.text()
    assert "paper.csv" in result.text()
    assert str(tmp_path / "paper") in result.text()
    assert "sign the form first" in result.text()
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/paper.csv").write_text("a,b\n1,2\n")
    (result,) = run(server, tmp_path, "paper")
    assert result.ok
    assert not server.requests


def test_one_failure_does_not_stop_the_others(server: HubServer, tmp_path: Path) -> None:
    results = run(server, tmp_path, "gated", "toy", "paper", "toy")
    assert [(r.source, r.ok) for r in results] == [("gated", False), ("toy", True), ("paper", False)]
    error = failure(results)
    assert isinstance(error, FetchError)
    assert error.exit_code == 2
    assert [json.loads(json.dumps(r.plain()))["ok"] for r in results] == [False, True, False]
    assert "gated, paper" in str(error)
    assert failure([results[1]]) is None


def test_an_unknown_name_stops_before_the_first_download(server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'narrow'"):
        run(server, tmp_path, "toy", "narow")
    assert not server.requests
