"""Archive, model, outputs and ledger in Google Cloud Storage are as on a local disk."""

import json

import soundfile
from cloud_storage import FAULTS
from tones import write_tones

from beam_jobs.separate_archive import main


def separate(archive, model, output):
    return main([f"--input={archive}/**.wav", f"--model={model}", f"--output={output}", "--rttm"])


def timeless(name, content):
    """Returns an output; of a ledger record, the part that does not differ between runs."""
    if not name.startswith("_ledger/"):
        return content
    record = json.loads(content)
    return {key: record[key] for key in ("outputs", "model_fingerprint", "num_frames")}


def test_outputs_and_ledger_are_the_local_ones_when_the_service_fails(
    cloud_storage, bundle, tmp_path
):
    for name in ("monday/a.wav", "tuesday/a.wav"):
        path = tmp_path / "calls" / name
        path.parent.mkdir(parents=True)
        write_tones(path, 1.5)
    (tmp_path / "calls/text.wav").write_text("not audio")
    archive = cloud_storage.put(tmp_path / "calls", "archive/calls")
    model = cloud_storage.put(bundle, f"archive/{bundle.name}")
    cloud_storage.faults = True
    output = f"{cloud_storage.root}/archive/out"
    assert separate(archive, model, output) == 3
    assert cloud_storage.met >= {("upload", fault) for fault in FAULTS}
    assert separate(tmp_path / "calls", bundle, tmp_path / "out") == 3
    here = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    there = cloud_storage.get("archive/out")
    same = {name for name in here if not name.endswith(("rejected.jsonl", "summary.json"))}
    same = {name for name in same if not name.startswith("_runs/")}
    assert {name for name in there if name in same} == same
    for name in same:
        assert timeless(name, there[name]) == timeless(name, here[name]), name
    (tmp_path / "a.wav").write_bytes(there["monday/a_speaker1.wav"])
    assert soundfile.info(tmp_path / "a.wav").frames == 12_000
    assert separate(archive, model, output) == 3
    assert json.loads(cloud_storage.get("archive/out")["summary.json"])["skipped"] == 2
