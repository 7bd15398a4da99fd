"""The distribution `spleeter-beam`; `pip install spleeter-beam` is enough to build mixtures."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    # Training and separation.
    "tensorflow": ["fast-bss-eval", "pystoi", "spleeter==2.4.2", "tensorflow==2.12.*"],
    # Files, runners and clusters on Google Cloud.
    "gcp": ["apache-beam[gcp]", "google-cloud-storage"],
    # The corpus that `make demo` speaks.
    "demo": ["espeakng-loader"],
    # M4A, AAC, WMA, AMR and whatever else libsndfile does not decode.
    "av": ["av"],
    # Scoring who speaks when; pyannote does not say that Matplotlib 3.11 is too new for it.
    "diarization": ["matplotlib<3.11", "pyannote.metrics"],
    # Simulated shoebox rooms.
    "rooms": ["pyroomacoustics"],
    "dev": [
        "gcp-storage-emulator",
        "hypothesis",
        "kubernetes-validate",
        "mypy",
        "pytest",
        "pytest-timeout",
        "ruff",
        "selenium",
        "tensorflow-datasets",
        # Later versions need protobuf 5, which TensorFlow 2.12 does not allow and do not say so.
        "tensorflow-metadata<1.16",
        "types-jsonschema",
        "types-tqdm",
    ],
}

setup(
    name="spleeter-beam",
    version="0.1.0",
    description="Distributed speaker-mixture datasets, training and separation for Spleeter",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.12",
    packages=find_packages(include=["beam_jobs*", "pages*", "schemas*", "scoring*", "training*"]),
    package_data={
        "beam_jobs": ["models/**", "recipes/presets/*.json"],
        "pages": ["templates/*"],
        "schemas": ["*.json"],
        "training": ["configs/*.json", "voices/configs/*.json"],
    },
    install_requires=[
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
)
