"""The mixture job on Prism, Beam's portable runner, which is written in Go."""

import os
import shutil
import subprocess
import time

import pytest
from local_ports import free_port, is_listening
from small_datasets import REPOSITORY, build, leftovers

PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.73.0"


@pytest.fixture(scope="module")
def prism(tmp_path_factory):
    """The address of a running Prism."""
    folder = REPOSITORY / ".cache" / PRISM.rpartition("/")[2]
    if not (folder / "prism").exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("no Go here: it builds Prism, Beam's portable runner (https://go.dev/dl)")
        subprocess.run([go, "install", PRISM], env=os.environ | {"GOBIN": str(folder)}, check=True)
    port = free_port()
    log = tmp_path_factory.mktemp("prism") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [folder / "prism", f"-job_port={port}", "-serve_http=false"], stdout=file, stderr=file
        )
    while process.poll() is None and not is_listening(port):
        time.sleep(0.05)
    yield f"localhost:{port}"
    process.terminate()
    process.wait()


def test_prism_writes_the_same_bytes(prism, corpus, recipe, tmp_path):
    path = corpus / "speaker0" / "0.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    asked = (f"--recipe={recipe}", "--splits=train=0.5,test=0.5", "--num_shards=3")
    here = build(*asked, corpus=corpus, output=tmp_path / "here")
    there = build(
        *asked,
        "--runner=PortableRunner",
        f"--job_endpoint={prism}",
        "--environment_type=LOOPBACK",
        corpus=corpus,
        output=tmp_path / "there",
    )
    assert here.status == there.status == 3
    assert there.digests == here.digests
    assert len(there.digests) == 6
    assert there.rejected == here.rejected
    assert leftovers(there.folder) == []
