import hashlib

import soundfile

from demo.speak_corpus import ACCENTS, TIMBRES, choose_voices, speak_corpus


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.wav")
    }


def test_each_voice_says_other_things_in_a_folder_of_its_own(tmp_path):
    speak_corpus(tmp_path, num_voices=4, num_sentences=3)
    spoken = digests(tmp_path)
    assert len({path.split("/")[0] for path in spoken}) == 4
    assert len(set(spoken.values())) == len(spoken) == 12
    for path in spoken:
        info = soundfile.info(str(tmp_path / path))
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert 1 < info.duration < 10


def test_a_voice_sounds_the_same_again_whoever_speaks_before_it(tmp_path):
    speak_corpus(tmp_path / "two", num_voices=2, num_sentences=2)
    speak_corpus(tmp_path / "three", num_voices=3, num_sentences=2)
    assert digests(tmp_path / "two").items() <= digests(tmp_path / "three").items()


def test_no_two_voices_are_the_same_person():
    voices = choose_voices(len(ACCENTS) * len(TIMBRES))
    assert len({voice.name for voice in voices}) == len(voices)
