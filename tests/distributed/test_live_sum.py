"""`--live-sum`: what all ranks have counted, kept in the job's own store; the training goes on whatever that does."""

from __future__ import annotations

import json

import pytest
from torch.distributed import PrefixStore, TCPStore

from auditor.session.live import LIVE_FILE, _add_in_store, read_live
from tests.distributed.conftest import AUDITOR_RUN, TORCHRUN
from tests.distributed.test_failures import told

BIG = """
big = torch.ones(1000, 1000)
PRODUCT_OPS = 2 * 10**9
def counted():
    try: return json.load(open("run/live.json"))
    except OSError: return {"processes": 0, "total_ops": "0"}
"""
MEETS = (
    BIG
    + """
dist.init_process_group("gloo")
while counted()["processes"] < 2 or int(counted()["total_ops"]) < 8 * PRODUCT_OPS: big @ big
dist.barrier()
assert dist.group.WORLD is not None
"""
)


def test_ranks_of_torchrun_know_their_sum(run, read, tmp_path):
    command = (*TORCHRUN, "-m", "auditor", "run", "--live-sum", "--out", "run", "train.py")
    done = run("import json\n" + MEETS, *command)
    assert done.returncode == 0, done.stderr
    live = read_live(tmp_path / "run")
    assert live is not None
    assert live.processes == 2
    reading = read(tmp_path / "run")
    assert reading.verdict == "UNANCHORED", reading.reasons
    assert 16 * 10**9 <= live.total_ops <= reading.operations.total
    status = told(tmp_path, "status")
    assert "in 2 processes, " in status
    assert "by the job's store; unsigned" in status


DIES = """
import socket, threading
silent = socket.socket(); silent.bind(("localhost", 0)); silent.listen()
dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meeting", rank=0, world_size=1)
os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "localhost", str(silent.getsockname()[1])
if sys.argv[1] == "dead": silent.close()
def said(): return "live sum of the job has ended" in open("errors").read()
until = time.monotonic() + (100 if sys.argv[1] == "dead" else 4)
while time.monotonic() < until and not said(): train(1)
assert said() == (sys.argv[1] == "dead")
"""


def test_a_store_that_is_dead_or_hangs_harms_nothing(run, read, tmp_path):
    for state in ("dead", "hangs"):
        shell = ("sh", "-c", '"$@" 2> errors; code=$?; cat errors >&2; exit $code', "sh")
        done = run(DIES, *shell, *AUDITOR_RUN, "--live-sum", "--out", state, "train.py", state)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("live sum") == (1 if state == "dead" else 0), done.stderr
        assert "[c10d]" not in done.stderr
        reading = read(tmp_path / state)
        assert reading.verdict == "UNANCHORED", reading.reasons
        assert not (tmp_path / state / LIVE_FILE).exists()


@pytest.mark.parametrize("use_libuv", [True, False])
def test_the_store_is_torchs(use_libuv):
    """What is added over our connection is what torch's own client reads, from either of its servers."""
    store = TCPStore("localhost", 0, is_master=True, use_libuv=use_libuv)
    for summed in ([5, 1], [10, 2]):
        assert _add_in_store("localhost", store.port, {"auditor/x/a": 5, "auditor/x/b": 1}) == summed
    assert PrefixStore("auditor/x", store).add("a", 2**40) == 2**40 + 10
    assert store.num_keys() == 2


def test_a_file_that_is_none_is_no_sum(tmp_path):
    for text in ("", "[]", "{}", json.dumps({"total_ops": "many", "processes": 1, "at_s": 0}), "\0"):
        (tmp_path / LIVE_FILE).write_text(text)
        assert read_live(tmp_path) is None
    assert read_live(tmp_path / "nowhere") is None
