"""The mixture job on a Flink cluster, with and without faults."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from small_datasets import build, build_elsewhere, command_line, leftovers

from deploy.flink.cluster import Cluster, ClusterError
from deploy.flink.inject_faults import kill_task_manager, kill_worker_pool, run_with, shard_digests

pytestmark = pytest.mark.flink


def test_flink_writes_the_same_bytes(flink, corpus, recipe, tmp_path):
    path = corpus / "speaker0" / "0.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    asked = (f"--recipe={recipe}", "--splits=train=0.5,test=0.5", "--num_shards=3")
    here = build(*asked, corpus=corpus, output=tmp_path / "here")
    there = build_elsewhere(*asked, *flink.job_options(), corpus=corpus, output=tmp_path / "there")
    assert here.status == there.status == 3, there.printed
    assert there.digests == here.digests
    assert len(there.digests) == 6
    assert there.rejected == here.rejected
    assert leftovers(there.folder) == []


@pytest.mark.parametrize("fault", [kill_task_manager, kill_worker_pool])
def test_a_job_survives(fault, flink, corpus, recipe, tmp_path):
    asked = (
        *(f"--recipe={recipe}", "--splits=train=1"),
        *("--num_mixtures=4000", "--num_shards=40"),
    )
    build(*asked, corpus=corpus, output=tmp_path / "here")
    folder = tmp_path / "there"
    argv = command_line(*asked, *flink.job_options(), corpus=corpus, output=folder)
    outcome = run_with(
        fault,
        [sys.executable, "-m", "beam_jobs.build_mixtures", *argv],
        cluster=flink,
        folder=folder,
        expected=shard_digests(tmp_path / "here"),
    )
    assert outcome.attempts == 1
    assert outcome.is_same
    assert outcome.num_finished < 40
    assert outcome.num_redone == 0
    assert leftovers(folder) == []


def test_a_cluster_that_runs_is_left_as_it_is(flink):
    before = flink.pids()
    flink.start()
    assert flink.pids() == before


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=f"port {port} is taken.* --rest_port"):
            Cluster(tmp_path, rest_port=port).start()
    assert list(tmp_path.iterdir()) == []


def is_alive(pid):
    # A zombie still has an entry, but no command line.
    path = Path(f"/proc/{pid}/cmdline")
    return path.exists() and path.read_bytes() != b""


def test_a_cluster_whose_supervisor_is_killed_stops_too(flink):
    pids = flink.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    flink.stop()
    assert not [name for name, pid in pids.items() if is_alive(pid)]
