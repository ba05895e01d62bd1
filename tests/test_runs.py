"""The runner on toy notebooks: continuing, every way to fail, and a manifest that never lies."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from prdlib import runs
from prdlib.__main__ import main
from prdlib.config import ConfigError, load_profile
from prdlib.manifest import RunError, alive, continue_command, identity, lock, read_manifest, write_manifest
from prdlib.models import WeightsError
from prdlib.plan import input_hash, plan
from prdlib.runs import run_pipeline, status_table

PARAMETERS = 'profile: str = "quick"\nsettings: dict = {}\nrun_dir: str = ""\ndata: str = ""\n'
EXTRA = {
    "02_pretraining": 'method: str = "prd"\nseed: int = 0\n',
    "04_attention": 'method: str = ""\nseed: int = 0\n',
    "05_downstream": "seed: int = 0\n",
}
NAMES = ("01_data", "02_pretraining", "03_ablations", "04_attention", "05_downstream")
SETTINGS = {"methods": ["clip", "prd"], "step_timeout": 60}
WRITE = "from pathlib import Path\nfolder = Path(run_dir) / 'metrics'\nfolder.mkdir(exist_ok=True)\n"


def toy(folder, **cells):
    """Five notebooks; ``cells`` gives the code of some of them, e.g. n02='raise ValueError(method)'."""
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        parameters = new_code_cell(PARAMETERS + EXTRA.get(name, ""), id="parameters", metadata={"tags": ["parameters"]})
        notebook = new_notebook(
            cells=[
                parameters,
                new_code_cell(cells.get(f"n{name[:2]}", "1 + 1"), id="body"),
                new_code_cell("'end'", id="end"),
            ]
        )
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


def run(tmp_path, settings=None, **options):
    lines = []
    result = run_pipeline(
        "quick",
        {**SETTINGS, **(settings or {})},
        notebooks=tmp_path / "notebooks",
        output=tmp_path / "run",
        report=lines.append,
        **options,
    )
    return result, lines


def test_the_plan_puts_whole_comparisons_first():
    config = load_profile("quick", {"seeds": [0, 1], "methods": ["clip", "prd"]})
    steps = plan(config, Path("n"), Path("r"), {"profile": "quick", "settings": {}, "data": ""})
    trained = [
        "02_pretraining-clip-seed0",
        "02_pretraining-prd-seed0",
        "02_pretraining-clip-seed1",
        "02_pretraining-prd-seed1",
    ]
    assert [s.key for s in steps] == ["01_data", *trained, "03_ablations", "04_attention", "05_downstream"]
    needs = {step.key: step.needs for step in steps}
    assert needs["03_ablations"] == tuple(trained)
    assert needs["04_attention"] == needs["05_downstream"] == tuple(trained[: len(trained) // 2])  # of the first seed


def test_a_run_continues_skips_what_is_done_and_repeats_what_changed(tmp_path):
    toy(
        tmp_path / "notebooks",
        n02=WRITE + "(folder / f'02_{method}-seed{seed}_scores.csv').write_text(f'a\\n{seed}\\n')",
    )
    first, lines = run(tmp_path)
    assert first.ok
    assert len(lines) == 6
    manifest = read_manifest(tmp_path / "run")
    assert not manifest["active"]
    step = manifest["steps"]["02_pretraining-clip-seed0"]
    assert list(step["outputs"]) == ["02_clip-seed0_scores.csv"]
    assert step["parameters"]["method"] == "clip"
    assert {"versions", "commit", "dirty"} <= set(manifest["provenance"])
    assert {step["commit"] for step in manifest["steps"].values()} == {manifest["provenance"]["commit"]}
    executed = nbformat.read(tmp_path / "run" / "02_pretraining-prd-seed0.ipynb", 4)
    assert 'method = "prd"' in "".join(c.source for c in executed.cells)

    again, lines = run(tmp_path)
    assert again.ok
    assert all("unchanged" in line for line in lines)

    toy(
        tmp_path / "notebooks",
        n04="2 + 2",
        n02=WRITE + "(folder / f'02_{method}-seed{seed}_scores.csv').write_text(f'a\\n{seed}\\n')",
    )
    _, lines = run(tmp_path)
    assert [line.split()[2] for line in lines if "unchanged" not in line] == ["04_attention"]

    (tmp_path / "run" / "metrics" / "02_prd-seed0_scores.csv").unlink()
    _, lines = run(tmp_path)
    assert "succeeded" in next(line for line in lines if "pretraining prd" in line)

    kept = tmp_path / "run" / "checkpoints" / "clip-seed0"
    kept.mkdir(parents=True)
    _, lines = run(tmp_path, start_from="02_pretraining")
    assert not kept.exists()  # trained again, not loaded
    assert not [line for line in lines if "unchanged" in line and "01_data" not in line]

    _, lines = run(tmp_path, start_from="04_attention")
    assert [line.split()[2] for line in lines if "unchanged" not in line] == ["04_attention"]


def test_failures_are_told_apart_and_stop_what_depends_on_them(tmp_path):
    body = (
        "import os, sys, signal\n"
        "if method == 'clip': print('said before'); raise ValueError('no good')\n"
        "if method == 'gloria': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if method == 'prd': sys.exit(0)\n"
        "import time; time.sleep(120)\n"
    )
    toy(tmp_path / "notebooks", n02=body)
    result, _ = run(tmp_path, {"methods": ["clip", "gloria", "prd", "prd_no_local"], "step_timeout": 25}, jobs=2)
    table = status_table(tmp_path / "run").set_index("step")
    assert table["status"].to_dict() == {
        "01_data": "succeeded", "02_pretraining-clip-seed0": "failed", "02_pretraining-gloria-seed0": "kernel_died",
        "02_pretraining-prd-seed0": "failed", "02_pretraining-prd_no_local-seed0": "timed_out",
        "03_ablations": "blocked", "04_attention": "blocked", "05_downstream": "blocked",
    }  # fmt: skip
    assert not result.ok
    assert "ValueError: no good" in table.loc["02_pretraining-clip-seed0", "message"]
    assert "never run" in table.loc["02_pretraining-prd-seed0", "message"]
    assert (tmp_path / "run" / "02_pretraining-clip-seed0.ipynb").is_file()
    assert (tmp_path / "run" / "log" / "02_pretraining-gloria-seed0.txt").is_file()
    log = (tmp_path / "run" / "log" / "02_pretraining-clip-seed0.txt").read_text()
    assert "said before" in log
    assert "ValueError: no good" in log

    toy(tmp_path / "notebooks")  # mended: the same command goes on
    assert run(tmp_path, {"methods": ["clip", "gloria", "prd", "prd_no_local"]}, jobs=2)[0].ok


def test_a_step_whose_runner_is_gone_already_does_not_begin(tmp_path):
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"runner": os.getpid() + 1, "outcome": str(tmp_path / "outcome.json")}))
    done = subprocess.run([sys.executable, "-m", "prdlib.execute", str(task)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})  # fmt: skip
    assert done.returncode == 1
    assert "is gone" in done.stderr
    assert not (tmp_path / "outcome.json").exists()


def test_missing_weights_stop_a_run_before_anything_starts(tmp_path):
    toy(tmp_path / "notebooks")
    with pytest.raises(WeightsError, match=r"model\.image_weights"):
        run(tmp_path, {"model.image_weights": "nowhere.pt"})
    assert not (tmp_path / "run").exists()


def test_a_killed_runner_leaves_no_lie_and_no_process_and_can_go_on(tmp_path):
    toy(
        tmp_path / "notebooks",
        n02="import os, time\nopen(run_dir + '/pid', 'w').write(str(os.getpid()))\ntime.sleep(60)",
    )
    code = (
        "from prdlib.runs import run_pipeline; import sys; "
        f"run_pipeline('quick', {SETTINGS!r}, notebooks={str(tmp_path / 'notebooks')!r}, output={str(tmp_path / 'run')!r})"
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    wait_for(lambda: (tmp_path / "run" / "pid").is_file(), 180)
    steps = read_manifest(tmp_path / "run")["steps"]
    assert steps["02_pretraining-clip-seed0"]["status"] == "running"
    with pytest.raises(RunError, match="already running"):
        run(tmp_path)
    kernel = identity(int((tmp_path / "run" / "pid").read_text()))
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    statuses = {k: s["status"] for k, s in read_manifest(tmp_path / "run")["steps"].items()}
    assert statuses["01_data"] == "succeeded"
    assert statuses["02_pretraining-clip-seed0"] == "interrupted"
    assert "running" not in statuses.values()
    wait_for(lambda: not alive(kernel), 30)
    toy(tmp_path / "notebooks")
    result, lines = run(tmp_path)
    assert result.ok
    assert "unchanged" in lines[0]


def test_steps_run_alone_one_after_the_other_are_a_run(tmp_path):
    toy(tmp_path / "notebooks")
    early, lines = run(tmp_path, only="02_pretraining-clip-seed0")
    assert not early.ok
    assert lines == ["[ 1/1] 02_pretraining clip 0              blocked   01_data: queued"]
    keys = ["01_data", "02_pretraining-clip-seed0", "02_pretraining-prd-seed0", "03_ablations", "04_attention"]
    for key in keys:
        alone, lines = run(tmp_path, only=key)
        assert alone.statuses == {key: "succeeded"}
        assert len(lines) == 1
    step = read_manifest(tmp_path / "run")["steps"]["03_ablations"]
    assert {"host", "device", "input_hash", "outputs"} <= set(step)
    assert "unchanged" in run(tmp_path, only="03_ablations")[1][0]
    _, lines = run(tmp_path)  # all of them: what was done alone is done
    assert [line.split()[2] for line in lines if "unchanged" not in line] == ["05_downstream"]


def test_inputs_are_hashed_once_a_step_not_at_every_look(tmp_path, monkeypatch):
    toy(tmp_path / "notebooks", n02="import time; time.sleep(2)")
    hashed = []
    monkeypatch.setattr(runs, "input_hash", lambda step, *rest: hashed.append(step.key) or input_hash(step, *rest))
    result, _ = run(tmp_path)
    assert result.ok
    assert sorted(hashed) == sorted(result.statuses)


def test_steps_of_one_run_at_the_same_time_keep_their_own_records(tmp_path):
    body = "import time, pathlib\npathlib.Path(run_dir, method).touch()\ntime.sleep(4 if method == 'clip' else 60)"
    toy(tmp_path / "notebooks", n02=body)
    assert run(tmp_path, only="01_data")[0].ok
    clip, prd = (f"02_pretraining-{method}-seed0" for method in ("clip", "prd"))
    place = f"notebooks={str(tmp_path / 'notebooks')!r}, output={str(tmp_path / 'run')!r}"
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", "from prdlib.runs import run_pipeline; "
             f"run_pipeline('quick', {SETTINGS!r}, {place}, only={key!r})"],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        for key in (clip, prd)
    ]  # fmt: skip
    wait_for(lambda: all((tmp_path / "run" / method).exists() for method in ("clip", "prd")), 180)
    manifest = read_manifest(tmp_path / "run")
    assert manifest["active"]
    assert [manifest["steps"][key]["status"] for key in (clip, prd)] == ["running", "running"]
    with pytest.raises(RunError, match=f"Step {prd} of run is already at work"):
        run(tmp_path, only=prd)
    with pytest.raises(RunError, match="is already at work"):
        run(tmp_path)
    assert runners[0].wait(60) == 0
    runners[1].kill()
    runners[1].wait()
    manifest = read_manifest(tmp_path / "run")
    assert not manifest["active"]
    assert [manifest["steps"][key]["status"] for key in (clip, prd)] == ["succeeded", "interrupted"]
    toy(tmp_path / "notebooks")
    assert run(tmp_path, only=prd)[0].ok


def test_a_step_alone_is_refused_while_a_runner_is_at_work(tmp_path):
    toy(tmp_path / "notebooks")
    (tmp_path / "run" / "log").mkdir(parents=True)
    with lock(tmp_path / "run"), pytest.raises(RunError, match="already running run"):
        run(tmp_path, only="01_data")


def test_a_live_runner_is_given_the_time_to_say_what_became_of_a_step(tmp_path):
    """Between the end of a step's process and the runner's next look the step is running, not interrupted."""
    step = {"status": "running", "process": {"pid": 2**30, "started": 0.0}}
    facts = {"run_id": "r", "started": "now", "steps": {"01_data": step}}
    for runner, status in ((identity(os.getpid()), "running"), (None, "interrupted")):
        write_manifest(tmp_path, {**facts, "runner": runner})
        assert read_manifest(tmp_path)["steps"]["01_data"]["status"] == status


def test_status_finds_the_newest_run_while_it_is_at_work(tmp_path, monkeypatch, capsys):
    toy(tmp_path / "notebooks")
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    shown = []

    def look(line):
        assert main(["status"]) == 0
        shown.append(capsys.readouterr().out)

    result = run_pipeline("quick", {"methods": ["clip"]}, report=look)
    assert result.ok
    assert result.run_dir.name in shown[0]
    assert "queued" in shown[0]
    assert "a runner is at work" in shown[0]
    assert main(["status"]) == 0
    assert capsys.readouterr().out.endswith("\nfinished\n")


def test_status_ends_with_the_command_that_continues_a_run_with_ones_own_profile(tmp_path, monkeypatch, capsys):
    profile = "from prdlib.config import load_profile\nassert load_profile(profile, settings).training.epochs == 2"
    toy(tmp_path / "notebooks", n02=profile, n03="raise ValueError('no good')")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "my.yaml").write_text("training: {epochs: 2}\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["--profile", "my.yaml", "--set", "methods=[clip]", "--set", "training={learning_rate: 1.0e-05}"]
    assert main(["run", *arguments]) == 1
    capsys.readouterr()
    assert main(["status"]) == 0
    run_line, *_, last = capsys.readouterr().out.splitlines()
    assert status_table(tmp_path / "papermill_runs" / "latest")["status"].tolist().count("succeeded") == 4  # all but 03
    words = shlex.split(last.partition("to continue: ")[2])
    assert words[:3] == ["python", "-m", "prdlib"]
    assert words[words.index("--profile") + 1] == str(tmp_path / "my.yaml")  # from any folder
    toy(tmp_path / "notebooks", n02=profile)
    (tmp_path / "notebooks" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks" / "sub")
    assert main(words[3:]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert main(["status"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0].split()[1] == run_line.split()[1]  # the same run
    assert output[-1] == "finished"


def test_the_command_of_a_run_elsewhere_is_a_call():
    call = {"profile": "quick", "settings": {"methods": ["clip"]}, "data": "", "output": "/a folder/run"}
    words = shlex.split(continue_command({"call": call}))
    assert words[:2] == ["python", "-c"]
    name, arguments = words[2].split("; ")[1].split("(", 1)
    assert name == "run_pipeline"
    assert eval(f"dict({arguments}") == call


def test_changed_data_change_every_step(tmp_path):
    toy(tmp_path / "notebooks")
    folder = tmp_path / "openi"
    folder.mkdir()
    hashes = []
    for text in ("uid\n1\n", "uid\n1\n", "uid\n2\n"):
        (folder / "indiana_reports.csv").write_text(text)
        config = load_profile("openi").with_data(str(folder))
        steps = plan(config, tmp_path / "notebooks", tmp_path / "run", {"profile": "openi"})
        before = {step.key: {"outputs": {}} for step in steps}
        hashes.append([input_hash(step, config, "", before) for step in steps])
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])


def test_tables_of_a_step_that_failed_are_gone(tmp_path):
    write = WRITE + "(folder / f'{name}.csv').write_text('a\\n1\\n')"
    cells = {
        "n01": write.replace("{name}", "01_splits"),
        "n02": write.replace("{name}", "02_{method}-seed{seed}_outcomes"),
        "n03": write.replace("{name}", "summary"),
    }
    toy(tmp_path / "notebooks", **cells)
    settings = {"methods": ["clip"], "seeds": [1, 11]}
    assert run(tmp_path, settings)[0].ok
    metrics = tmp_path / "run" / "metrics"
    tables = ["01_splits.csv", "02_clip-seed11_outcomes.csv", "02_clip-seed1_outcomes.csv", "summary.csv"]
    assert sorted(p.name for p in metrics.iterdir()) == tables
    manifest = read_manifest(tmp_path / "run")["steps"]
    assert list(manifest["01_data"]["outputs"]) == ["01_splits.csv"]
    assert list(manifest["02_pretraining-clip-seed1"]["outputs"]) == ["02_clip-seed1_outcomes.csv"]
    assert list(manifest["03_ablations"]["outputs"]) == ["summary.csv"]
    toy(tmp_path / "notebooks", **{**cells, "n02": "assert seed != 1\n" + cells["n02"]})
    assert not run(tmp_path, settings)[0].ok
    assert sorted(p.name for p in metrics.iterdir()) == ["01_splits.csv", "02_clip-seed11_outcomes.csv"]


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs_are_refused(tmp_path, jobs):
    toy(tmp_path / "notebooks")
    with pytest.raises(ConfigError, match=f"--jobs is {jobs}: it must be at least 1"):
        run(tmp_path, jobs=jobs)


def test_a_broken_manifest_stops_a_run(tmp_path):
    toy(tmp_path / "notebooks")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(RunError, match=r"run.json is broken: remove it"):
        run(tmp_path)


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_nothing_runs_when_a_name_is_wrong(tmp_path):
    toy(tmp_path / "notebooks")
    with pytest.raises(ConfigError, match=r"did you mean 'training.epochs'"):
        run(tmp_path, {"training.epoch": 3})
    with pytest.raises(RunError, match="Unknown step '06_more'"):
        run(tmp_path, start_from="06_more")
    with pytest.raises(
        RunError, match=r"Unknown step '02_pretraining-clp-seed0' \(did you mean '02_pretraining-clip-seed0'"
    ):
        run(tmp_path, only="02_pretraining-clp-seed0")
    with pytest.raises(ConfigError, match="--only runs one step"):
        run(tmp_path, only="01_data", start_from="01_data")
    notebook = nbformat.read(tmp_path / "notebooks" / "02_pretraining.ipynb", 4)
    notebook.cells[0].source = PARAMETERS + "method: str = ''\n"
    nbformat.write(notebook, tmp_path / "notebooks" / "02_pretraining.ipynb")
    with pytest.raises(RunError, match=r"02_pretraining.ipynb has no parameter 'seed'"):
        run(tmp_path)
    (tmp_path / "notebooks" / "05_downstream.ipynb").unlink()
    with pytest.raises(RunError, match="is missing"):
        run(tmp_path)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_lock_whose_owner_is_gone_is_taken_over(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    (tmp_path / "lock.json").write_text(json.dumps({"pid": process.pid, "started": 1.0}))
    with lock(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lock.json").exists()


def test_a_recycled_process_id_is_not_taken_for_the_same(tmp_path):
    mine = identity(os.getpid())
    assert alive(mine)
    assert not alive({**mine, "started": mine["started"] - 100})
    assert not alive(None)


def test_a_missing_run_names_the_command(tmp_path):
    with pytest.raises(RunError, match="python -m prdlib run"):
        read_manifest(tmp_path)
