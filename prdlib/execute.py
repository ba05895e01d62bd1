"""One step: a papermill run of one notebook in this process, with an outcome file that says how it really ended.

Started by the runner as ``python -m prdlib.execute task.json``; the runner is another process, so a killed kernel, a killed
step and a raising cell can be told apart.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from prdlib.repro import write_json


def main(task_file: str) -> int:
    """Run the task; returns 0 (succeeded) or 1, and writes {"status", "message"} to the task's outcome file."""
    task = json.loads(Path(task_file).read_text())
    die_with(task["runner"])
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stdout
    )  # what cells print goes into the step's log
    status, message = run_notebook(task)
    write_json(task["outcome"], {"status": status, "message": message})
    return 0 if status == "succeeded" else 1


def die_with(runner: int) -> None:
    """Ask Linux to stop this process when the runner (its parent) dies, so that a killed runner leaves no notebook behind; a
    runner that died before it could be asked is seen by the parent being another."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
        if os.getppid() != runner:
            sys.exit(f"the runner {runner} is gone")


def run_notebook(task: dict) -> tuple[str, str]:
    """(status, message) of one notebook; the executed notebook is kept whatever happens."""
    # jsonschema would import it to check addresses in notebooks, which have none: two seconds of every step, for its grammar
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    class ThisPython(KernelSpecManager):
        """Whatever kernels a machine has: 'python3' is the Python that runs prdlib."""

        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3 (ipykernel)", language="python")

    class IpcKernel(AsyncKernelManager):
        """A kernel on sockets in a directory of its own: parallel notebooks cannot race for ports."""

        def __init__(self, **kwargs: object) -> None:
            place = {"transport": "ipc", "ip": f"{sockets}/kernel", "connection_file": f"{sockets}/connection.json"}
            super().__init__(**{**kwargs, **place, "kernel_spec_manager": ThisPython()})

    os.chdir(task["cwd"])
    try:
        with tempfile.TemporaryDirectory(prefix="prdlib-", ignore_cleanup_errors=True) as sockets:
            papermill.execute_notebook(
                task["notebook"],
                task["executed"],
                parameters=task["parameters"],
                cwd=task["cwd"],
                kernel_name="python3",
                kernel_manager_class=IpcKernel,
                progress_bar=False,
                coalesce_streams=True,
                log_output=True,
                start_timeout=120,
            )
    except PapermillExecutionError as error:
        print(re.sub(r"\x1b\[[0-9;]*m", "", str(error)))  # the traceback, without colours
        return "failed", f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    except DeadKernelError:
        return "kernel_died", "the kernel died (out of memory, or killed)"
    except CellTimeoutError as error:
        return "timed_out", str(error).splitlines()[0]
    cells = json.loads(Path(task["executed"]).read_text())["cells"]
    pending = [c for c in cells if c["metadata"].get("papermill", {}).get("status") == "pending"]
    if pending:
        return "failed", f"{len(pending)} cells were never run: a cell ended the kernel"
    return "succeeded", ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
