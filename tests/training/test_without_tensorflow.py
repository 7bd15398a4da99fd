import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["train", "evaluate", "export"])
def test_one_line_names_the_extra(tmp_path, monkeypatch, command):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ran = subprocess.run(
        [sys.executable, "-m", f"training.{command}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "training needs TensorFlow: pip install 'spleeter-beam[tensorflow]'\n"
