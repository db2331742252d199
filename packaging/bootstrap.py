"""Makes the project's own Python environment, `.venv`, and starts the program in it.

    python packaging/bootstrap.py run [ARGUMENTS]     set up, then `python -m ddpm_studio ARGUMENTS`
    python packaging/bootstrap.py setup [EXTRA...]    set up only, e.g. with the `test` extra

Standard library only, since nothing else is there yet. All it says goes to stderr: stdout is the program's.

The environment is trusted only with its stamp. The stamp goes before the first change and comes back after
the last one, so a set-up killed at any moment leaves none, and the next start makes the environment anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WINDOWS = os.name == "nt"
CONSTRAINTS = "packaging/constraints.txt"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# What Qt and its xcb plugin ask the loader for (readelf -d), and the Debian package that holds each.
SYSTEM_LIBRARIES = {
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libzstd.so.1": "libzstd1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
# For the tests in a real X server: without these they skip and say so.
TEST_PROGRAMS = {"Xvfb": "xvfb", "openbox": "openbox", "xdotool": "xdotool", "xprop": "x11-utils"}


NO_VENV = """This Python cannot make environments; on Debian and Ubuntu this helps:
    sudo apt-get install python3 python3-venv"""


class SetupError(Exception):
    """Set-up cannot go on; the message is one sentence (and one command) for the person in front of it."""


class CallError(SetupError):
    """venv or pip failed, after these words."""

    def __init__(self, message: str, words: str) -> None:
        super().__init__(message)
        self.words = words


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Environment:
    """The virtual environment of the project in `root`."""

    root: Path = ROOT
    base_python: str = sys.executable

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if WINDOWS else "bin/python")

    @property
    def stamp(self) -> Path:
        return self.folder / "ddpm-studio.stamp"

    @property
    def lock(self) -> Path:
        return self.folder / "ddpm-studio.lock"

    @property
    def log(self) -> Path:
        return self.folder / "install.log"

    def ensure(self, extras: set[str]) -> None:
        """Makes or mends the environment; returns at once when all is in place."""
        if self.serves(self.read_stamp(), extras):
            return
        foreign = (self.folder / "pyvenv.cfg").exists() and not self.lock.exists()
        self.folder.mkdir(exist_ok=True)
        with locked(self.lock) as lock:
            stamp = self.read_stamp()
            if self.serves(stamp, extras):  # another start was faster
                return
            if not self.stands(stamp):
                stamp = {}
                if not foreign:  # one that someone else made is added to, not emptied
                    self.make(lock)
            self.install(extras | set(stamp.get("extras", ())), lock, stamp)

    def serves(self, stamp: dict[str, Any], extras: set[str]) -> bool:
        """Whether all that is wanted is in place."""
        wanted = stamp.get("inputs") == self.inputs() and extras <= set(stamp.get("extras", ()))
        return wanted and self.stands(stamp)

    def stands(self, stamp: dict[str, Any]) -> bool:
        """Whether what was installed can still be used: a moved folder or a replaced Python breaks it."""
        version = self.version()
        return version is not None and (stamp.get("root"), stamp.get("python")) == (str(self.root), version)

    def inputs(self) -> str:
        """What decides which packages belong in the environment (the settings of ruff and the like do not)."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))
        chosen = [project.get("build-system"), project.get("project"), project.get("tool", {}).get("hatch")]
        constraints = (self.root / CONSTRAINTS).read_bytes()
        return hashlib.sha256(json.dumps(chosen).encode() + constraints).hexdigest()

    def version(self) -> str | None:
        """The version of the environment's own Python, if that one runs at all."""
        command = [str(self.python), "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    def read_stamp(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            return dict(json.loads(self.stamp.read_text("utf-8")))
        return {}

    def write_stamp(self, stamp: dict[str, Any]) -> None:
        half = self.stamp.with_suffix(".half")
        half.write_text(json.dumps(stamp), "utf-8")
        os.replace(half, self.stamp)

    def make(self, lock: int) -> None:
        """An empty environment, whatever lay there before. The lock stays: others may wait on it."""
        if importlib.util.find_spec("ensurepip") is None:
            raise SetupError(NO_VENV)
        self.stamp.unlink(missing_ok=True)
        leftovers = [path for path in self.folder.iterdir() if path != self.lock]
        if leftovers:
            say("The environment in .venv was moved, outdated or interrupted half-way; it is made anew.")
        for path in leftovers:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        say("Setting up DDPM Studio in .venv: this happens once and takes a few minutes.")
        self.call([self.base_python, "-I", "-m", "venv", str(self.folder)], lock)

    def install(self, extras: set[str], lock: int, stamp: dict[str, Any]) -> None:
        """The project itself (editable) and all it needs, as constraints.txt pins it; then the stamp."""
        say("Installing the Python packages (details: .venv/install.log) ...")
        target = f".[{','.join(sorted(extras))}]" if extras else "."
        command = [
            str(self.python),
            "-I",
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
        ]
        command += ["--progress-bar", "off", "-c", CONSTRAINTS, *torch_index(), "-e", target]
        self.stamp.unlink(missing_ok=True)
        try:
            self.call(command, lock)
        except CallError as failure:
            # pip changes nothing before it says this, so what stood still stands: being off line costs nobody
            # an environment that works.
            if stamp and "Installing collected packages" not in failure.words:
                self.write_stamp(stamp)
            raise
        facts = {"root": str(self.root), "python": self.version()}
        self.write_stamp({"inputs": self.inputs(), "extras": sorted(extras), **facts})
        say("Set-up is complete.")

    def call(self, command: list[str], lock: int) -> None:
        """Runs venv or pip, its words into the log and the gist of them to the screen."""
        # pip builds the project itself in an environment of its own, which only these variables reach (the
        # second since pip 25.3). The path is relative because pip would split it at a space.
        pins = {"PIP_CONSTRAINT": CONSTRAINTS, "PIP_BUILD_CONSTRAINT": CONSTRAINTS}
        words = ""
        with (
            self.log.open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command,
                cwd=self.root,
                env={**os.environ, **pins, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                # A pip that outlives a killed set-up keeps the lock: nobody builds where it still writes.
                pass_fds=() if WINDOWS else (lock,),
            ) as process,
        ):
            log.write(f"$ {' '.join(command)}\n")
            assert process.stdout is not None
            for line in process.stdout:
                words += line
                log.write(line)
                log.flush()
                if gist := progress(line):
                    say(gist)
        if process.returncode:
            raise CallError(f"{reason(words)} Details: {self.log}", words)


def progress(line: str) -> str | None:
    """A line of pip's as a line for the screen: big downloads and the unpacking are what takes time."""
    if match := re.match(r"\s*Downloading (?:\S*/)?([^-\s]+)-([^-\s]+)-\S* \((\d{2,}\.\d MB)\)", line):
        return f"  downloading {match[1]} {match[2]} ({match[3]})"
    if line.startswith("Installing collected packages:"):
        return f"  unpacking {line.count(',') + 1} packages"
    return None


# The first pattern that fits is the cause, the later ones are its consequences.
CAUSES = {
    r"No space left on device|Errno 28|not enough space on the disk": "The disk is full (set-up needs 3 GB).",
    r"CERTIFICATE_VERIFY_FAILED|SSLError": "The package index's certificate was refused; is there a proxy?",
    r"ProxyError": "The proxy in HTTPS_PROXY or in pip's settings does not answer.",
    r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo failed|Network is unreachable"
    r"|Connection refused|Connection reset|ConnectTimeout|ReadTimeout|Read timed out|ProtocolError"
    r"|IncompleteRead": "The Python packages could not be downloaded; check the network and start again.",
    r"Permission denied|Errno 13|WinError 5\b": "A file could not be written: permission denied.",
    r"No matching distribution found for (\S+)": "There is no {} for this system and this version of Python.",
    r"ensurepip": NO_VENV,
}


def reason(words: str) -> str:
    """Why venv or pip failed, as one sentence."""
    for pattern, sentence in CAUSES.items():
        if match := re.search(pattern, words):
            return sentence.format(*match.groups())
    return "The Python packages could not be installed."


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """One set-up at a time; a second one waits and says so. The lock dies with its holder."""
    with path.open("a+b") as file:
        said = False
        while not try_lock(file.fileno()):
            if not said:
                say("Another start is setting up DDPM Studio; waiting for it ...")
                said = True
            time.sleep(0.2)
        yield file.fileno()


def try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a network file system without locks: better unguarded than not at all
            return True
    return True


def torch_index() -> list[str]:
    """Where else pip may look for torch: without an NVIDIA card, Linux is spared gigabytes of CUDA.

    DDPM_STUDIO_TORCH_INDEX names another index; empty, none.
    """
    index = os.environ.get("DDPM_STUDIO_TORCH_INDEX")
    if index is None:
        nvidia = Path("/proc/driver/nvidia").exists() or Path("/dev/dxg").exists() or shutil.which("nvidia-smi")
        index = "" if sys.platform != "linux" or nvidia or not answers(TORCH_CPU_INDEX) else TORCH_CPU_INDEX
    return ["--extra-index-url", index] if index else []


def answers(index: str, seconds: float = 3.0) -> bool:
    """Whether an index can be reached. In a thread, since no time-out covers a name server that is silent."""
    found = threading.Event()

    def probe() -> None:
        request = urllib.request.Request(f"{index}/torch/", method="HEAD")
        with suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=seconds):
            found.set()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return found.is_set()


def missing_libraries(libraries: dict[str, str]) -> dict[str, str]:
    """Those of `libraries` that the loader does not find; dpkg is not asked, it knows only its own."""
    missing = {}
    for name, package in libraries.items():
        try:
            ctypes.CDLL(name)
        except OSError:
            missing[name] = package
    return missing


def ensure_libraries(libraries: dict[str, str], *, window: bool) -> None:
    """Qt's system libraries: installed where we may, else named. Only a `window` has to have them."""
    missing = missing_libraries(libraries)
    if not missing:
        return
    packages = sorted(set(missing.values()))
    if apt_install(packages):
        missing = missing_libraries(libraries)
        if not missing:
            return
    if shutil.which("apt-get"):
        message = f"The window needs system libraries that are missing; this installs them:\n    {apt(packages)}"
    else:
        message = f"The window needs system libraries that are missing; install what holds {', '.join(missing)}."
    if window:
        raise SetupError(message)
    say(f"{message}\nThe command line works without them.")


def ensure_test_programs(programs: dict[str, str]) -> None:
    missing = [package for name, package in programs.items() if not shutil.which(name)]
    if missing and not apt_install(missing):
        say(f"The tests in a real X server will be skipped; this enables them:\n    {apt(missing)}")


def apt(packages: list[str], sudo: str = "sudo ") -> str:
    return f"{sudo}apt-get install -y --no-install-recommends {' '.join(packages)}"


def apt_install(packages: list[str]) -> bool:
    """Installs Debian packages if nobody has to be asked: as root, or where sudo wants no password."""
    if sys.platform != "linux" or not shutil.which("apt-get"):
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and not (shutil.which("sudo") and quietly([*prefix, "true"])):
        return False
    say(f"Installing the system packages {' '.join(packages)} ...")
    prefix += ["env", "DEBIAN_FRONTEND=noninteractive"]
    install = [*prefix, *apt(packages, sudo="").split(), "-o", "DPkg::Lock::Timeout=120"]
    # Package lists are empty in a fresh container and stale elsewhere.
    return quietly(install) or (quietly([*prefix, "apt-get", "update"]) and quietly(install))


def quietly(command: list[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["run", *rest]:
            extras: set[str] = set()
        case ["setup", *rest]:
            extras = set(rest)
        case _:
            say(str(__doc__))
            return 2
    environment = Environment()
    try:
        if sys.platform == "linux":
            display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
            ensure_libraries(SYSTEM_LIBRARIES, window=display or "test" in extras)
            if "test" in extras:
                ensure_test_programs(TEST_PROGRAMS)
        environment.ensure(extras)
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"Set-up cannot go on: {error}.")
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the next start finishes the set-up.")
        return 130
    if arguments[0] == "setup":
        return 0
    # -P keeps the folder that one happens to stand in out of the import path.
    command = [str(environment.python), "-P", "-m", "ddpm_studio", *rest]
    if WINDOWS:  # where exec would give the console back before the program ends
        return subprocess.run(command, check=False).returncode
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
