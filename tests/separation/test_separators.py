import json
import shutil

import numpy as np
import pytest
from tiny_models import SMALL, save_spleeter_model

from beam_jobs.separation.models import ModelError, describe_model
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.windows import OverlapAdd, cut_windows


def _separate(model, separator, signal, batch_size=3):
    windows = list(cut_windows([signal], len(signal), model.framing))
    join = OverlapAdd(model.framing, len(signal))
    parts = []
    for start in range(0, len(windows), batch_size):
        for output in separator.separate(np.stack(windows[start : start + batch_size])):
            parts.append(join.add(output))
    return np.concatenate(parts, axis=1)


def _noise(num_samples, num_channels=2):
    rng = np.random.default_rng(1)
    envelope = np.repeat(rng.uniform(0, 0.3, num_samples // 1000 + 1), 1000)[:num_samples, None]
    return (envelope * rng.standard_normal((num_samples, num_channels))).astype(np.float32)


@pytest.mark.parametrize(
    ("stock_name", "changes", "num_samples"),
    [
        ("2stems", {}, 100),
        ("2stems", {}, 64 * 128 * 3 - 511),
        ("4stems", {"instrument_list": ["drums", "other"], "mask_extension": "average"}, 24_576),
        ("5stems", {"instrument_list": ["piano", "bass"], "frame_step": 100}, 40_003),
    ],
)
def test_window_by_window_equals_spleeter_on_the_whole_file(
    stock_name, changes, num_samples, small_model
):
    path, separate_whole_file = small_model(stock_name, **changes)
    signal = _noise(num_samples)
    model = describe_model(str(path))
    separated = _separate(model, load_separator(model), signal)
    expected = separate_whole_file(signal)
    assert separated.shape == expected.shape
    np.testing.assert_allclose(separated, expected, atol=1e-5)
    # The outputs differ clearly, or the comparison would prove nothing.
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    made = {}

    def make(stock_name, **changes):
        if stock_name in made:
            return made[stock_name]
        model_type = "unet.softmax_unet" if stock_name == "5stems" else "unet.unet"
        network = {"type": model_type, "params": {"conv_n_filters": [4, 8, 8, 8, 8, 8]}}
        folder = tmp_path_factory.mktemp("spleeter") / stock_name
        changes = SMALL | {"model": network} | changes
        made[stock_name] = save_spleeter_model(folder, stock_name, **changes)
        return made[stock_name]

    return make


def test_a_stock_folder_is_a_model_by_its_name_alone(tmp_path, monkeypatch):
    folder = tmp_path / "2stems"
    path, _ = save_spleeter_model(folder, "2stems")
    signal = _noise(600_000)
    from spleeter.separator import Separator  # noqa: PLC0415

    prediction = Separator(str(path), multiprocess=False).separate(signal)
    expected = np.stack([prediction["vocals"], prediction["accompaniment"]])
    path.unlink()
    model = describe_model(str(folder))
    assert model.source_names == ("vocals", "accompaniment")
    separated = _separate(model, load_separator(model), signal)
    np.testing.assert_allclose(separated, expected, atol=1e-4)
    monkeypatch.setenv("MODEL_PATH", str(tmp_path))
    assert describe_model("spleeter:2stems").framing == model.framing


@pytest.mark.parametrize(
    ("name", "instruments"),
    [
        ("2stems-16kHz", ("vocals", "accompaniment")),
        ("4stems", ("vocals", "drums", "bass", "other")),
        ("5stems", ("vocals", "piano", "drums", "bass", "other")),
    ],
)
def test_every_stock_model_is_known_by_its_folder(tmp_path, name, instruments):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "checkpoint").write_text('model_checkpoint_path: "/of/the/trainer/model-7"\n')
    (folder / "model-7.index").touch()
    model = describe_model(str(folder))
    assert (model.source_names, model.sample_rate) == (instruments, 44100)
    assert model.checkpoint == "model-7"


def test_a_bundle_is_loaded_and_separates(bundle):
    model = describe_model(str(bundle))
    separator = load_separator(model, num_threads=1)
    time = np.arange(24_000) / model.sample_rate
    low, high = np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 3000 * time)
    signal = (0.3 * low + 0.1 * high).astype(np.float32)[:, np.newaxis]
    separated = _separate(model, separator, signal)
    assert separated.shape == (2, 24_000, 1)
    np.testing.assert_allclose(separated[0, 100:-100, 0], 0.3 * low[100:-100], atol=0.01)
    np.testing.assert_allclose(separated[1, 100:-100, 0], 0.1 * high[100:-100], atol=0.01)


def test_the_fingerprint_changes_with_the_weights(bundle, swapping_bundle):
    before = describe_model(str(bundle)).fingerprint
    assert describe_model(str(bundle)).fingerprint == before
    assert describe_model(str(swapping_bundle)).fingerprint != before


def test_the_fingerprint_is_of_what_outputs_depend_on(bundle, tmp_path):
    before = describe_model(str(bundle)).fingerprint
    copy = shutil.copytree(bundle, tmp_path / "copy")

    def edit(version, **changes):
        document = json.loads((bundle / "bundle.json").read_text()) | changes
        (copy / "bundle.json").write_text(json.dumps(document | {"version": version}))
        return describe_model(str(copy)).fingerprint

    assert edit(2, name="other", metrics={"validation_si_sdri_db": 9.0}) == before
    for changes in ({"window_s": 2.0}, {"context_s": 0.0}, {"sample_rate": 16000}):
        assert edit(2, **changes) != before
    assert edit(2, aligned=False) != edit(2, source_names=["a", "b"]) != before
    # As in the ledgers that version 1 has written, it is of the whole text.
    assert edit(1) != before
    assert edit(1, name="other") != edit(1)


def test_the_error_for_a_folder_without_a_model_says_what_a_model_is(tmp_path):
    with pytest.raises(ModelError, match=r"neither bundle\.json nor checkpoint"):
        describe_model(str(tmp_path))


def test_a_bundle_without_its_saved_model_is_named(tmp_path, bundle):
    (tmp_path / "bundle.json").write_text((bundle / "bundle.json").read_text())
    with pytest.raises(ModelError, match=r"saved_model\.pb is missing"):
        describe_model(str(tmp_path))


@pytest.mark.parametrize("pattern", ["saved_model.pb", "variables/*.data-*", "variables/*.index"])
def test_a_bundle_with_a_damaged_file_is_named(tmp_path, bundle, pattern):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (path,) = (copy / "saved_model").glob(pattern)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ModelError, match=f"{copy}: its saved_model can't be loaded"):
        load_separator(describe_model(str(copy)))


def test_a_checkpoint_of_another_model_is_refused(tmp_path, small_model):
    path, _ = small_model("2stems")
    configuration = json.loads(path.read_text())
    configuration["model"]["params"] = {"conv_n_filters": [2, 4, 4, 4, 4, 4]}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(configuration))
    with pytest.raises(ModelError, match="the checkpoint is not one of"):
        load_separator(describe_model(str(other)))


def test_a_spleeter_model_without_its_checkpoint_says_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_PATH", str(tmp_path))
    with pytest.raises(ModelError, match="MODEL_PATH"):
        describe_model("spleeter:2stems")


def test_a_stock_name_that_spleeter_does_not_have_is_refused():
    with pytest.raises(ModelError, match="no stock model"):
        describe_model("spleeter:3stems")
