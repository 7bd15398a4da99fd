import subprocess
import sys
from importlib import resources

import soundfile

from demo.speak_corpus import ACCENTS, TIMBRES, choose_voices
from schemas.configuration import parse_configuration


def speak(folder, *options):
    """Runs the command; returns the bytes of each file by its path in the folder."""
    command = [sys.executable, "-m", "demo.speak_corpus", "--output", folder, *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.wav")}


def test_each_voice_says_other_things_in_a_folder_of_its_own(tmp_path):
    spoken = speak(tmp_path, "--num_voices=4", "--num_utterances=3")
    assert len({path.parent for path in spoken}) == 4
    assert len(set(spoken.values())) == len(spoken) == 12
    for path in spoken:
        info = soundfile.info(str(tmp_path / path))
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert 4 < info.duration < 20


def test_the_same_command_speaks_the_same_bytes(tmp_path):
    first = speak(tmp_path / "first", "--num_voices=7", "--num_utterances=2")
    again = speak(tmp_path / "again", "--num_voices=7", "--num_utterances=2")
    assert len(first) == 14
    assert first == again


def test_no_two_voices_are_the_same_person():
    voices = choose_voices(len(ACCENTS) * len(TIMBRES))
    assert len({voice.name for voice in voices}) == len(voices)


def test_the_network_of_the_demo_suits_its_dataset():
    path = resources.files("demo") / "joint_tcn_small.json"
    configuration = parse_configuration(path.read_text("utf-8"), str(path))
    assert (configuration.sample_rate, configuration.num_sources) == (8000, 2)
    # Validations depend on the steps alone, so that everybody sees the same numbers.
    assert configuration.throttle_secs == 0
    assert configuration.train_max_steps % configuration.save_checkpoints_steps == 0
