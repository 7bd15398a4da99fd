import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def shared_path():
    """A folder that every user of the machine may enter; `tmp_path` is for its owner alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)
