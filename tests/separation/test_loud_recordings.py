"""Recordings of floating point that exceed full scale, as some recorders write them."""

import json

import numpy as np
import pytest
import soundfile

from beam_jobs.separate_archive import main

RATE = 8000
QUIET = 0.2 * np.sin(2 * np.pi * 300 * np.arange(4 * RATE) / RATE)


@pytest.fixture
def separate(bundle, tmp_path, capsys):
    """Separates audio, and returns the first output, its record, and what was printed."""

    def run(audio, subtype):
        soundfile.write(tmp_path / "a.wav", audio, RATE, subtype)
        options = [f"--input={tmp_path / 'a.wav'}", f"--model={bundle}", "--direct_num_workers=1"]
        assert main([*options, f"--output={tmp_path / 'out'}"]) == 0
        low, _ = soundfile.read(tmp_path / "out/a_speaker1.wav")
        record = json.loads((tmp_path / "out/_ledger/a.wav.json").read_text())
        return low, record, capsys.readouterr().out

    return run


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_what_exceeds_full_scale_is_scaled_down_and_never_clipped(separate, subtype):
    low, record, printed = separate(QUIET * 50, subtype)
    assert record["gain_db"] == -20.0
    np.testing.assert_allclose(low[800:-800], QUIET[800:-800] * 5, atol=0.02)
    assert "1 recording has samples above full scale: scaled down" in printed


def test_what_does_not_is_left_as_loud_as_it_is(separate):
    low, record, printed = separate(QUIET, "FLOAT")
    assert record["gain_db"] == 0
    np.testing.assert_allclose(low[800:-800], QUIET[800:-800], atol=0.02)
    assert "full scale" not in printed
