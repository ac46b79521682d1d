"""Programs in C and C++ that run TensorFlow Lite for Microcontrollers on this machine, without a microcontroller.

The wheel tflite-micro holds the runtime as a shared library that exports its C++ interface, and no headers. Those in
include/ stand in for them, under TFLM's own names and for what a program calls: its source is compiled as it is.
"""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path

INCLUDE = Path(__file__).parent / "include"
_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
C = ("gcc", "-std=c11", *_WARNINGS)
CPP = ("g++", "-std=c++17", *_WARNINGS)


def program(sources: Sequence[Path], folder: Path) -> Path:
    """Compile sources (.c with gcc as C11, .cc and .cpp with g++) with TFLM into an executable in a folder.

    Their warnings are errors. The folder is where their own headers are looked for, too.
    """
    runtime = _runtime()
    stubs = folder / "python_stubs.c"
    stubs.write_text("".join(f"char {symbol}[4096];\n" for symbol in _of_python(runtime)))
    objects = []
    for source in (*sources, stubs):
        compiler = C if source.suffix == ".c" else CPP
        target = folder / f"{source.name}.o"
        told([*compiler, f"-I{folder}", "-isystem", str(INCLUDE), "-c", str(source), "-o", str(target)])
        objects.append(str(target))
    found = folder / "program"
    # The library finds the stubs in the program, and the program finds the library where it lies.
    told(["g++", "-rdynamic", *objects, str(runtime), f"-Wl,-rpath,{runtime.parent}", "-o", str(found)])
    return found


def told(command: Sequence[str]) -> str:
    """Run a command that has to succeed and return what it printed; its errors are the message of a failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def _runtime() -> Path:
    package = importlib.util.find_spec("tflite_micro")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "python/tflite_micro/_runtime.so"


def _of_python(library: Path) -> list[str]:
    """Return what the library's other half, the Python module, needs of Python; a program never calls it."""
    lines = told(["nm", "--dynamic", "--undefined-only", str(library)]).splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines}
    return sorted(name for name in names if name.startswith(("Py", "_Py")))
