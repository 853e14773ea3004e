"""The notebooks run from the first cell to the last on a lake, and each ends in a figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jupytext

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
FIGURE = "vegaEmbed"


def test_every_notebook_runs_and_ends_in_a_figure(published, tmp_path):
    assert len(NOTEBOOKS) == 4
    made = [tmp_path / f"{source.stem}.ipynb" for source in NOTEBOOKS]
    for source, notebook in zip(NOTEBOOKS, made, strict=True):
        jupytext.write(jupytext.read(source), notebook)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "--nbmake-timeout=120", "-q",
         "-p", "no:cacheprovider", "-p", "no:schemathesis", *map(str, made)],
        env={**os.environ, "WARPDRIVE_CONFIG": str(published), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for notebook in made:
        cells = json.loads(notebook.read_text())["cells"]
        last = [cell for cell in cells if cell["cell_type"] == "code"][-1]
        shown = ["".join(output.get("data", {}).get("text/html", "")) for output in last["outputs"]]
        assert any(FIGURE in html for html in shown), (notebook.name, shown)
