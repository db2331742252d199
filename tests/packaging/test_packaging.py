"""The set-up, against a Python that only plays venv and pip: no network, no waiting."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "packaging").glob("*.sh")), ROOT / "packaging" / "run.command", ROOT / ".ci" / "run"]

# Plays the base Python and, copied into it, the environment's own. It counts what pip was asked to do, and with
# `slow` in the folder it stops half-way, as a download does.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    *"-m venv "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo "home = /" >"$4/pyvenv.cfg" ;;
    *"-m pip install "*)
        echo half >.venv/half-installed
        echo "$*" >>pip-calls
        [ ! -e offline ] || { echo "NewConnectionError: no route"; exit 1; }
        [ ! -e slow ] || { [ "$(cat slow)" ] || exec sleep 30; sleep "$(cat slow)"; }
        echo "Installing collected packages: a, b, c"
        [ ! -e full ] || { echo "OSError: [Errno 28] No space left on device"; exit 1; }
        rm .venv/half-installed ;;
    *) echo 3.11 ;;
esac
"""


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "packaging" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose path holds what paths hold in real life, and a Python beside it."""
    monkeypatch.setenv("DDPM_STUDIO_TORCH_INDEX", "")
    root = tmp_path / "Größe 1"
    (root / "packaging").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "p"\ndependencies = ["a"]\n', "utf-8")
    (root / "packaging" / "constraints.txt").write_text("a==1\n", "utf-8")
    python = root / "python"
    python.write_text(FAKE_PYTHON, "utf-8")
    python.chmod(0o755)
    return root


@pytest.fixture
def environment(bootstrap: ModuleType, project: Path):
    return bootstrap.Environment(project, str(project / "python"))


def calls(project: Path) -> int:
    log = project / "pip-calls"
    return len(log.read_text("utf-8").splitlines()) if log.exists() else 0


def start(project: Path) -> subprocess.Popen[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'packaging')!r})\n"
        "import bootstrap, pathlib\n"
        f"root = pathlib.Path({str(project)!r})\n"
        "bootstrap.Environment(root, str(root / 'python')).ensure(set())\n"
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


def is_whole(project: Path) -> bool:
    venv = project / ".venv"
    return (venv / "ddpm-studio.stamp").exists() and not (venv / "half-installed").exists()


def test_a_second_start_does_nothing(environment, project: Path):
    environment.ensure(set())
    environment.ensure(set())
    assert calls(project) == 1
    assert is_whole(project)


def test_extras_are_added_once_and_kept(environment, project: Path):
    environment.ensure(set())
    environment.ensure({"test"})
    environment.ensure(set())
    assert calls(project) == 2
    (project / "packaging" / "constraints.txt").write_text("a==2\n", "utf-8")
    environment.ensure(set())
    assert (project / "pip-calls").read_text("utf-8").splitlines()[-1].endswith("-e .[test]")


@pytest.mark.parametrize("name", ["pyproject.toml", "packaging/constraints.txt"])
def test_a_changed_requirement_is_installed(environment, project: Path, name: str):
    environment.ensure(set())
    path = project / name
    path.write_text(path.read_text("utf-8").replace("a", "b"), "utf-8")
    environment.ensure(set())
    assert calls(project) == 2


def test_settings_of_other_tools_install_nothing(environment, project: Path):
    environment.ensure(set())
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("[tool.ruff]\nline-length = 99\n")
    environment.ensure(set())
    assert calls(project) == 1


def test_a_moved_folder_gets_a_new_environment(bootstrap: ModuleType, environment, project: Path, capsys):
    environment.ensure(set())
    (environment.folder / "points-to-the-old-place").touch()
    moved = project.rename(project.with_name("elsewhere"))
    bootstrap.Environment(moved, str(moved / "python")).ensure(set())
    assert is_whole(moved)
    assert not (moved / ".venv" / "points-to-the-old-place").exists()
    assert "made anew" in capsys.readouterr().err


def test_a_broken_interpreter_gets_a_new_environment(environment, project: Path):
    environment.ensure(set())
    environment.python.unlink()
    environment.ensure(set())
    assert calls(project) == 2
    assert environment.python.exists()


def test_someone_elses_environment_is_added_to_but_not_emptied(environment, project: Path):
    subprocess.run([project / "python", "-I", "-m", "venv", project / ".venv"], check=True)
    theirs = project / ".venv" / "theirs"
    theirs.touch()
    environment.ensure(set())
    assert theirs.exists()
    assert is_whole(project)


def test_being_off_line_costs_nobody_a_working_environment(bootstrap: ModuleType, environment, project: Path):
    environment.ensure(set())
    kept = environment.folder / "kept"
    kept.touch()
    (project / "packaging" / "constraints.txt").write_text("a==2\n", "utf-8")
    (project / "offline").touch()
    with pytest.raises(bootstrap.SetupError, match=r"check the network.*install\.log"):
        environment.ensure(set())
    (project / "offline").unlink()
    environment.ensure(set())
    assert kept.exists()


def test_a_full_disk_is_named_and_leaves_no_stamp(bootstrap: ModuleType, environment, project: Path):
    environment.ensure(set())
    (project / "packaging" / "constraints.txt").write_text("a==2\n", "utf-8")
    (project / "full").touch()
    with pytest.raises(bootstrap.SetupError, match="disk is full"):
        environment.ensure(set())
    assert not environment.stamp.exists()
    (project / "full").unlink()
    environment.ensure(set())
    assert is_whole(project)


@pytest.mark.parametrize("whom", ["the set-up alone", "everything"])
def test_a_killed_set_up_heals_at_the_next_start(environment, project: Path, whom: str, capsys):
    (project / "slow").write_text("0.7" if whom == "the set-up alone" else "", "utf-8")
    process = start(project)
    wait_for(project / ".venv" / "half-installed")
    if whom == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    assert not is_whole(project)
    (project / "slow").unlink()
    environment.ensure(set())
    assert is_whole(project)
    said = capsys.readouterr().err
    assert "made anew" in said
    # A pip that is still writing is waited for; one that was killed may take a moment to be gone.
    assert "waiting for it" in said or whom == "everything"


def test_two_starts_at_once_install_once(project: Path):
    (project / "slow").write_text("0.5", "utf-8")
    first = start(project)
    wait_for(project / ".venv" / "half-installed")
    second = start(project)
    said = [process.communicate(timeout=20)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert calls(project) == 1
    assert "waiting for it" in said[1]
    assert is_whole(project)


def test_missing_libraries_are_named_with_the_command(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(bootstrap, "apt_install", lambda packages: False)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}")
    libraries = {"libc.so.6": "libc6", "libno-such-thing.so.7": "libno-such-thing7"}
    with pytest.raises(bootstrap.SetupError, match=r"\n    sudo apt-get install .* libno-such-thing7$"):
        bootstrap.ensure_libraries(libraries, window=True)
    bootstrap.ensure_libraries(libraries, window=False)
    assert "command line works without" in capsys.readouterr().err
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    with pytest.raises(bootstrap.SetupError, match=r"install what holds libno-such-thing\.so\.7"):
        bootstrap.ensure_libraries(libraries, window=True)


def test_torch_index(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "answers", lambda index: pytest.fail("asked in spite of the variable"))
    for chosen, options in [("", []), ("https://i/x", ["--extra-index-url", "https://i/x"])]:
        monkeypatch.setenv("DDPM_STUDIO_TORCH_INDEX", chosen)
        assert bootstrap.torch_index() == options


def test_an_index_that_is_not_there_is_given_up_at_once(bootstrap: ModuleType):
    begin = time.monotonic()
    assert not bootstrap.answers("http://127.0.0.1:1")
    assert time.monotonic() - begin < 3.5


def test_pip_s_words_become_few(bootstrap: ModuleType):
    address = "  Downloading https://host/a/torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.3 MB)\n"
    assert bootstrap.progress(address) == "  downloading torch 2.13.0 (190.3 MB)"
    assert bootstrap.progress("  Downloading tomlkit-0.15.2-py3-none-any.whl (39 kB)\n") is None
    assert bootstrap.progress("Installing collected packages: a, b, c\n") == "  unpacking 3 packages"


def test_bootstrap_needs_only_the_standard_library():
    tree = ast.parse((ROOT / "packaging" / "bootstrap.py").read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_parse(script: Path):
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    result = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout


def pins() -> dict[str, str]:
    lines = (ROOT / "packaging" / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def asked_for() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    texts = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["test"]]
    return [Requirement(text) for text in texts + project["build-system"]["requires"]]


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_constraints_pin_what_pyproject_asks_for(requirement: Requirement):
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_constraints_pin_what_that_needs_in_turn():
    pinned, seen, unpinned = pins(), set(), set()
    todo = asked_for()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        # A CUDA build of torch pins its own libraries exactly.
        if name in seen or name.startswith(("nvidia-", "cuda-", "triton")):
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        seen.add(name)
        if name not in pinned:
            unpinned.add(name)
        try:
            todo += map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:  # what only builds is not installed here
            continue
    assert not unpinned
