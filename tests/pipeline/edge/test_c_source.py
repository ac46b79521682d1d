"""C source of a model: compiled with gcc and g++, read back, and run in TFLM on this machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.edge import c_source, micro
from pipeline.edge.ends import quantized, signature
from pipeline.errors import InputError
from tests.pipeline.edge import small, tflm_host
from tests.pipeline.formats import tiny

LABELS = ("zero", 'a"; exit(1); "', "*/ \\", "ä??/7")
# prints what the header promises, and the bytes of the array and of the labels
READER = """\
#include <stdint.h>
#include <stdio.h>
#include "NAME.h"

static void tell(const struct NAME_tensor *tensor) {
  printf("%s %d %d [", tensor->name, (int)tensor->type, tensor->rank);
  for (int axis = 0; axis < tensor->rank; ++axis) printf(" %d", (int)tensor->shape[axis]);
  printf("] %zu %zu %.9g %d\\n", tensor->elements, tensor->bytes, (double)tensor->scale, (int)tensor->zero_point);
}

int main(void) {
  printf("%d %d %d %d\\n", NAME_UPPER_ARENA_BYTES, NAME_UPPER_OPERATORS, NAME_UPPER_LABELS,
         (int)((uintptr_t)NAME_model % 16));
  for (int i = 0; i < NAME_UPPER_INPUTS; ++i) tell(&NAME_inputs[i]);
  for (int i = 0; i < NAME_UPPER_OUTPUTS; ++i) tell(&NAME_outputs[i]);
  for (int i = 0; i < NAME_UPPER_LABELS; ++i) printf("%s\\n", NAME_labels[i]);
  fwrite(NAME_model, 1, sizeof(NAME_model), stdout);
  return 0;
}
"""
# answers each sample from standard input on standard output
RUNNER = """\
#include <stdio.h>
#include <string.h>
#include "tiny.h"
#include "tiny_runtime.h"

int main(void) {
  static unsigned char sample[4096];
  const int failed = tiny_start();
  if (failed) return failed;
  while (fread(sample, tiny_inputs[0].bytes, 1, stdin) == 1) {
    if (tiny_reset() != 0) return 3;
    memcpy(tiny_input(0), sample, tiny_inputs[0].bytes);
    if (tiny_invoke() != 0) return 4;
    fwrite(tiny_output(0), tiny_outputs[0].bytes, 1, stdout);
  }
  return 0;
}
"""


def written(folder: Path, sources: dict[str, bytes]) -> None:
    for name, content in sources.items():
        (folder / name).write_bytes(content)


def read_back(path: Path, name: str, folder: Path, compiler: tuple[str, ...]) -> bytes:
    """Compile a model's source with a reader; return what it prints."""
    written(folder, c_source.sources(path, name=name, arena=3200, labels=LABELS))
    root = c_source.identifier(name)
    (folder / "reader.c").write_text(READER.replace("NAME_UPPER", root.upper()).replace("NAME", root))
    files = [str(folder / file) for file in (f"{root}.c", "reader.c")]
    tflm_host.told([*compiler, f"-I{folder}", *files, "-o", str(folder / "reader")])
    return subprocess.run([folder / "reader"], capture_output=True, check=True).stdout


@pytest.mark.parametrize("compiler", [tflm_host.C, (*tflm_host.CPP, "-x", "c++")], ids=["gcc as C11", "g++ as C++17"])
def test_program_reads_the_files_bytes_and_ends_back(compiler: tuple[str, ...], files: Path, tmp_path: Path) -> None:
    path = files / small.INT8_ENDS
    printed = read_back(path, "Tiny: int8", tmp_path, compiler)
    head, model = printed[: -path.stat().st_size], printed[-path.stat().st_size :]
    assert model == path.read_bytes()
    ends = signature(path)
    (scale_in, zero_in), (scale_out, zero_out) = (end.quantization or (0, 0) for end in (*ends.takes, *ends.gives))
    assert head.decode().splitlines() == [
        "3200 4 4 0",
        f"image 1 4 [ 1 8 8 1] 64 64 {scale_in:.9g} {zero_in}",
        f"logits 1 2 [ 1 4] 4 4 {scale_out:.9g} {zero_out}",
        *LABELS,
    ]


def test_names_are_data_and_no_code_when_they_are_hostile(files: Path, tmp_path: Path) -> None:
    path = small.changed(files / small.INT8_ENDS, tmp_path / "hostile.tflite", small.hostile_names)
    printed = read_back(path, '7"; int x; /* ../..', tmp_path, tflm_host.C)
    assert b'*/ "; int main(void) { return 1; } /* \\ 1 4 [ 1 8 8 1] 64 64' in printed
    assert {file.name for file in tmp_path.glob("m_7*")} == {
        "m_7_int_x.h", "m_7_int_x.c", "m_7_int_x_operators.h", "m_7_int_x_runtime.h", "m_7_int_x_runtime.cc",
    }  # fmt: skip


def test_c_program_answers_in_tflm_as_python_does_in_the_arena_that_was_measured(
    files: Path, in_tflm: micro.Run, tmp_path: Path
) -> None:
    path = files / small.INT8_ENDS
    written(tmp_path, c_source.sources(path, name="tiny", arena=in_tflm.arena.size))
    (tmp_path / "runner.c").write_text(RUNNER)
    program = tflm_host.program([tmp_path / name for name in ("runner.c", "tiny.c", "tiny_runtime.cc")], tmp_path)
    samples = quantized(tiny.samples(32, seed=1), signature(path).takes[0])
    done = subprocess.run([program], input=samples.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(32, 4), in_tflm.raw["logits"])

    # and where the arena is smaller than what the model works in, it says so
    header = tmp_path / "tiny.h"
    header.write_text(re.sub(r"(ARENA_BYTES) \d+", rf"\1 {in_tflm.arena.head}", header.read_text()))
    program = tflm_host.program([tmp_path / name for name in ("runner.c", "tiny.c", "tiny_runtime.cc")], tmp_path)
    assert subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 2


def test_source_has_the_same_bytes_twice_in_lines_of_twelve(files: Path) -> None:
    once, again = (c_source.sources(files / small.INT8, name="tiny", arena=16, labels=LABELS) for _ in range(2))
    assert once == again
    lines = re.findall(r"^  0x.*$", once["tiny.c"].decode(), re.MULTILINE)
    assert {line.count("0x") for line in lines[:-1]} == {12}
    assert "registered && resolver.AddConv2D() == 0;" in once["tiny_operators.h"].decode()
    assert b"CONV_2D 2x: AddConv2D" in once["tiny.c"]


def test_source_is_refused_when_tflm_lacks_an_operator(files: Path, tmp_path: Path) -> None:
    path = small.changed(files / small.INT8_ENDS, tmp_path / "other.tflite", small.another_operator)
    with pytest.raises(micro.MicroError, match="TFLM has no kernel for REDUCE_PROD"):
        c_source.sources(path, name="tiny", arena=16)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("digits int8", "digits_int8"), ("3 digits", "m_3_digits"), ("Ärger/../x", "rger_x"), ("string", "m_string")],
)
def test_identifier_is_one_in_c_whatever_the_name(name: str, expected: str) -> None:
    assert c_source.identifier(name) == expected


def test_name_is_refused_when_nothing_of_it_can_be_an_identifier() -> None:
    with pytest.raises(InputError, match="nothing that C can call it") as error:
        c_source.identifier("数字")
    assert error.value.found == "'数字'"
