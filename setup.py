"""The distribution `spleeter-beam`; `pip install spleeter-beam` is enough to build mixtures."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    # Training and separation. Neither Spleeter nor its TensorFlow is to be had from Python 3.12 on.
    "tensorflow": [
        "fast-bss-eval",
        "pystoi",
        "spleeter==2.4.2; python_version < '3.12'",
        "tensorflow==2.12.*; python_version < '3.12'",
    ],
    # Files, runners and clusters on Google Cloud. Beam packs this project for Dataflow with
    # setuptools, which a virtual environment of Python 3.12 or later lacks.
    "gcp": ["apache-beam[gcp]", "google-cloud-storage", "setuptools"],
    # The corpus that `make demo` speaks.
    "demo": ["espeakng-loader"],
    # M4A, AAC, WMA, AMR and whatever else libsndfile does not decode. PyAV 19 insists on tags in
    # UTF-8.
    "av": ["av<19"],
    # Scoring who speaks when; pyannote does not say that Matplotlib 3.11 is too new for it.
    "diarization": ["matplotlib<3.11", "pyannote.metrics"],
    # Simulated shoebox rooms.
    "rooms": ["pyroomacoustics"],
    "dev": [
        "datasets",
        # Without a version, pip goes back to one of 2021, which asks little of the others.
        "gcsfs>=2025",
        "gcp-storage-emulator",
        "hypothesis",
        "kubernetes-validate",
        "mlcroissant",
        "mypy",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "selenium",
        "tensorflow-datasets",
        # Later versions need protobuf 5, which TensorFlow 2.12 does not allow and do not say so.
        "tensorflow-metadata<1.16",
        "types-jsonschema",
        "types-tqdm",
        "webdataset",
    ],
}

# `python -m MODULE` runs the same.
COMMANDS = {
    "build-mixtures": "beam_jobs.build_mixtures",
    "fit-conversation": "beam_jobs.fit_conversation",
    "verify-dataset": "beam_jobs.verify_dataset",
    "export-audio": "beam_jobs.export_audio",
    "separate-archive": "beam_jobs.separate_archive",
    "score-separation": "beam_jobs.score_separation",
    "train-separator": "training.train",
    "evaluate-separator": "training.evaluate",
    "export-separator": "training.export",
    "compare-architectures": "training.verdict",
    "pack-voices": "training.voices.speech",
    "train-voices": "training.voices.train",
    "evaluate-voices": "training.voices.evaluate",
    "export-voices": "training.voices.export",
    "pack-upper-band": "training.upper_band.pack",
    "train-upper-band": "training.upper_band.train",
}

setup(
    name="spleeter-beam",
    version="0.1.0",
    description="Distributed speaker-mixture datasets, training and separation for Spleeter",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=find_packages(
        include=["beam_jobs*", "command_line*", "pages*", "schemas*", "scoring*", "training*"]
    ),
    package_data={
        "beam_jobs": ["models/**", "recipes/presets/*.json"],
        "pages": ["templates/*"],
        "schemas": ["*.json"],
        "training": ["configs/*.json", "voices/configs/*.json"],
    },
    install_requires=[
        # 2.77 works, too, but with Google Cloud it takes protobuf 6, and TensorFlow 2.12 at most 4.
        "apache-beam==2.72.*",
        "google-crc32c",
        "jinja2",
        "jsonschema",
        "matplotlib",
        "numpy",
        "pillow",
        "pyarrow",
        "pyloudnorm",
        "scipy",
        "soundfile",
        "soxr",
        "tqdm",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [f"{name} = {module}:main" for name, module in COMMANDS.items()]
    },
)
