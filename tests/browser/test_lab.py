"""A notebook opened, run and saved in JupyterLab by a real browser.

Needs the extra ``browser`` (playwright) and a Chromium on the machine; without them the test is skipped.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from prdlib.repro import project_root

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'prdlib[browser]'")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the machine")
SMALL = {"data": {"n_studies": 60, "image_size": 32, "word_limit": 40}}
PATIENCE = 180  # seconds


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Address of a JupyterLab whose root is ``tmp_path``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.root_dir={tmp_path}", f"--port={port}", "--IdentityProvider.token=secret", "--allow-root"]
    settings = {name: str(tmp_path / "jupyter") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--LabApp.expose_app_in_browser=True", *options],
            stdout=log, stderr=log, env={**os.environ, **settings},
        )  # fmt: skip
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=secret", timeout=5)
            break
        except OSError:
            assert server.poll() is None, (tmp_path / "lab.log").read_text()
            time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token=secret"
    server.terminate()
    server.wait(30)


def test_run_all_in_jupyterlab(lab: str, tmp_path: Path) -> None:
    notebook = nbformat.read(project_root() / "notebooks" / "01_data.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\nsettings = {SMALL!r}\nrun_dir = {str(tmp_path / 'run')!r}"
    nbformat.write(notebook, tmp_path / "01_data.ipynb")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.goto(lab.format("01_data.ipynb"))
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=PATIENCE * 1000)
        page.set_default_timeout(PATIENCE * 1000)
        page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        browser.close()
    saved = json.loads((tmp_path / "01_data.ipynb").read_text())
    cells = [cell for cell in saved["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    assert "Support Devices" in str(cells[-1]["outputs"])
