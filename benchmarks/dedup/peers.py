"""Who is compared: the adapter of each, its settings, and what pip installs for it into an environment of its own.

An environment is made when it is missing, under `benchmarks/out/peers/`, and counts as ready only after the adapter has run through
once on a few rows: data-juicer installs torch by itself the first time, and what cannot be installed is told before anything is
measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.dedup import meter
from benchmarks.measure import OUT

ENVIRONMENTS = OUT / "peers"
_INSTALL_S = 1800


@dataclass(frozen=True, slots=True)
class Peer:
    """The module of the adapter, its arguments, the name of the environment (None: the one that runs this) and what is installed there."""

    adapter: str
    arguments: tuple[str, ...] = ()
    environment: str | None = None
    requires: tuple[str, ...] = ()


_DATASKETCH = ("datasketch==2.0.0", "pyarrow")
_JUICER = ("py-data-juicer==1.6.1", "aiohttp")  # which it imports and does not require
PEERS: dict[str, Peer] = {
    "ours": Peer("ours"),
    "exact": Peer("exact"),
    "rensa": Peer("rensa", environment="rensa", requires=("rensa==0.5.0", "pyarrow")),
    "datasketch": Peer("datasketch", environment="datasketch", requires=_DATASKETCH),
    "chatlm": Peer("chatlm", environment="datasketch", requires=_DATASKETCH),
    "text-dedup": Peer("text_dedup", environment="text-dedup", requires=("text-dedup==0.4.0",)),
    "datatrove": Peer("datatrove", environment="datatrove", requires=("datatrove[io,processing]==0.10.1", "spacy", "jieba")),
    "data-juicer": Peer("data_juicer", ("--tokenization", "character"), "data-juicer", _JUICER),
    "data-juicer-space": Peer("data_juicer", ("--tokenization", "space"), "data-juicer", _JUICER),
}
"""In the order in which they run: the fast ones first."""
QUICK = ("ours", "exact", "rensa")
"""Those that take less than a minute on the real rows."""


class Missing(Exception):
    """A peer that cannot be run here, and why."""


def python(peer: Peer) -> Path:
    """The interpreter of a peer."""
    return Path(sys.executable) if peer.environment is None else ENVIRONMENTS / peer.environment / "bin" / "python"


def command(peer: Peer, rows: Path, folder: Path) -> list[str]:
    """The command that runs a peer on a file of rows, with `folder` for its result and its scratch."""
    places = ["--rows", str(rows), "--out", str(folder / "out"), "--work", str(folder / "work")]
    return [str(python(peer)), "-m", f"benchmarks.dedup.adapters.{peer.adapter}", *places, *peer.arguments]


def surroundings(folder: Path) -> dict[str, str]:
    """Environment variables of a run: all caches in its own folder, so that no run finds what an earlier one left."""
    return {"TMPDIR": str(folder), "HF_HOME": str(folder / "hf"), "DATA_JUICER_CACHE_HOME": str(folder / "juicer")}


def prepare(name: str) -> None:
    """Makes the environment of a peer, if there is none that is ready.

    Raises:
        Missing: when it cannot be installed, or does not run.
    """
    peer = PEERS[name]
    if peer.environment is None:
        return
    place = ENVIRONMENTS / peer.environment
    stamp = place / f"{name}.ready.json"
    if stamp.exists() and json.loads(stamp.read_text()) == list(peer.requires):
        return
    print(f"{name}: making its environment", file=sys.stderr, flush=True)
    pip = [str(python(peer)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requires]
    for step in ([sys.executable, "-m", "venv", str(place)], pip):
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            raise Missing(f"`{' '.join(step)}` took more than {_INSTALL_S} s") from None
        if done.returncode:
            raise Missing(f"`{' '.join(step)}` failed: {last_line(done.stderr)}")
    _try(peer)
    stamp.write_text(json.dumps(peer.requires) + "\n")


def _try(peer: Peer) -> None:
    """Runs an adapter on sixty rows, each twice."""
    texts = [
        f"第{i}行：今天天气很好，我们一起去公园散步，然后写{i * i}个字。Row {i} speaks of {i * 7} other things, at length."
        for i in range(60)
    ] * 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows" / "rows.parquet"
        rows.parent.mkdir()
        pq.write_table(pa.table({"row_id": pa.array(range(len(texts))), "source": ["few"] * len(texts), "text": texts}), rows)
        log = folder / "log"
        ran = meter.run(command(peer, rows, folder), log=log, limit=_INSTALL_S, environment=surroundings(folder))
        if ran.status or not (folder / "out" / "meta.json").exists():
            raise Missing(f"it was installed, but does not run: {last_line(log.read_text(errors='replace'))}")


def last_line(text: str) -> str:
    """The last line of an output that says anything, its first 300 characters."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")[:300]
