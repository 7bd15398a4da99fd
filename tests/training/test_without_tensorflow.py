"""The training commands where TensorFlow is not installed, or not needed."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "train",
    "evaluate",
    "export",
    "verdict",
    "voices.speech",
    "voices.train",
    "voices.evaluate",
    "voices.export",
)


HIDDEN = "import sys\nsys.modules['tensorflow'] = None\n"
REFUSED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(params=[HIDDEN])
def run(tmp_path, monkeypatch, request):
    """Runs a command where importing TensorFlow fails."""
    (tmp_path / "sitecustomize.py").write_text(request.param)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(command, *arguments):
        return subprocess.run(
            [sys.executable, "-m", f"training.{command}", *arguments],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_mistyped_options_need_no_tensorflow(run, command):
    described = run(command, "--help")
    assert (described.returncode, described.stderr) == (0, "")
    assert described.stdout.startswith(f"usage: python -m training.{command} ")
    mistyped = run(command, "--versoin")
    assert mistyped.returncode == 1
    assert mistyped.stderr == (
        f"training.{command}: unknown option --versoin: did you mean --version?\n"
    )


@pytest.mark.parametrize("run", [HIDDEN, REFUSED], indirect=True)
def test_one_line_names_the_extra(run):
    needed = run("export", "--model_dir=model", "--output=bundle")
    assert (needed.returncode, needed.stdout) == (1, "")
    assert needed.stderr == (
        "training.export: training needs TensorFlow: pip install 'spleeter-beam[tensorflow]'\n"
    )
