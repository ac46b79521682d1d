"""What zeros buy in LiteRT when a file stores them sparsely: float32 against sparse-float32, one thread, by turns.

    python -m tests.benchmarks.sparse [SHARE ...]

A MobileNet with explicit padding, as `prune.policy: xnnpack` asks for, on 96 x 96 pixels; the smallest weights of its
1x1 convolutions are zero, as many as each SHARE says, or blocks of them. It is timed as it is and, where the CPU is an
x86 with AVX, in a process from which that is hidden (`no_avx.c`, which needs a C compiler): XNNPACK has sparse kernels
for ARM and for SSE, and where there is AVX it does not take them.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from pipeline.compress.pattern_config import Block, Structured, label
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.predictor import classifier

SPEC = classifier("image", (96, 96, 3), (0.0, 255.0), tuple("0123456789"))
LATENCY = LatencyConfig(blocks=11, min_block_ms=200, percentile=0.5, max_block_ms=10_000)
PATTERNS: tuple[Structured | None, ...] = (None, Block(size=(1, 4)))
VERSIONS = {1: "MobileNet", 2: "MobileNetV2"}
WIDTH = 0.5


def avx() -> bool:
    """Return whether the CPU has AVX."""
    listed = Path("/proc/cpuinfo")
    return listed.exists() and "avx" in listed.read_text(encoding="utf-8").split()


def write(folder: Path, version: int, share: float, pattern: Structured | None) -> None:
    """Write float32.tflite and sparse-float32.tflite of a network that was never trained, which time does not see."""
    import tensorflow as tf

    import models
    from models import mobilenet
    from pipeline.compress import masks, pruning, xnnpack
    from pipeline.formats import tflite

    config = mobilenet.Config(version=version, width_multiplier=WIDTH, explicit_padding=True)  # type: ignore[arg-type]
    model = models.build(config, SPEC, seed=0)
    left = pruning.left(model, pattern) | xnnpack.left(model)
    for name in pruning.targets(model, share, {}, left):
        layer = model.get_layer(name)
        # blocks of one weight are none
        mask = masks.mask(
            layer.kernel, pattern or Block.model_construct(size=(1, 1), pooling="max"), tf.constant(share)
        )
        layer.kernel.assign(layer.kernel * mask)
    tflite.write(model, folder / "float32.tflite", SPEC, "float32")
    tflite.write(model, folder / "sparse-float32.tflite", SPEC, "sparse-float32")


def hide(library: Path) -> None:
    """Hide AVX from what this process loads from now on.

    Raises:
        OSError: the kernel or the CPU cannot let CPUID fault.
    """
    if ctypes.CDLL(str(library)).hide():
        raise OSError("this machine cannot hide AVX")


def times(folder: Path) -> tuple[float, float, float, float, float, float]:
    """Return the medians in milliseconds, the speed-up with its 95 % interval, and how far the answers are apart."""
    from pipeline.formats import tflite
    from pipeline.measuring import latency

    samples = np.random.default_rng(0).uniform(0, 255, (8, *SPEC.input.shape)).astype(np.float32)
    files = {name: tflite.load(folder / f"{name}.tflite", SPEC, 1) for name in ("float32", "sparse-float32")}
    one, other = (file.predict(samples[:1])["logits"] for file in files.values())
    found = latency.measure(files, samples, LATENCY)
    dense, sparse = found.values()
    ratio = latency.speedup(dense, sparse, against="float32").ratio
    return dense.p50_ms.value, sparse.p50_ms.value, ratio.value, ratio.low, ratio.high, float(np.abs(one - other).max())


def main(shares: list[float]) -> None:
    """Print a table."""
    print("| network | zeros | CPU | float32 ms | sparse-float32 ms | speed-up | 95 % | apart |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        library = Path(temporary) / "no_avx.so"
        source = Path(__file__).with_name("no_avx.c")
        if avx():
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
        context = multiprocessing.get_context("spawn")
        for share, version, pattern in ((s, v, p) for s in shares for v in VERSIONS for p in PATTERNS):
            folder = Path(temporary) / f"{version}-{share}-{label(pattern) if pattern else 'any'}"
            folder.mkdir()
            with ProcessPoolExecutor(1, context) as process:
                process.submit(write, folder, version, share, pattern).result()
            for hidden in (False, True) if avx() else (False,):
                begin = (hide, (library,)) if hidden else (None, ())
                with ProcessPoolExecutor(1, context, *begin) as process:
                    dense, sparse, value, low, high, apart = process.submit(times, folder).result()
                zeros = f"{share:.0%}" + (f" in blocks of {label(pattern)}" if pattern else "")
                cpu = "AVX hidden" if hidden else "as it is"
                print(
                    f"| {VERSIONS[version]} {WIDTH:g} | {zeros} | {cpu} | {dense:.2f} | {sparse:.2f} | {value:.2f}x | "
                    f"{low:.2f} to {high:.2f} | {apart:.0e} |",
                    flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main([float(one) for one in sys.argv[1:]] or [0.6, 0.7, 0.8, 0.9])
