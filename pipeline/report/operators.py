"""What the graph in an exported file consists of, as a type of report.json."""

from __future__ import annotations

from pydantic import Field

from pipeline.config import Frozen


class Kind(Frozen):
    """How many operators of a kind a file has, and how many of them compute in integers."""

    count: int
    integer: int = 0


class Operators(Frozen):
    """What the graph in an exported file consists of.

    `integer` and `floating` count the operators that compute in int8 (or int16, int32) and in float, `floating_names`
    names the latter's kinds with their counts. `conversions` count those that only go from one to the other (QUANTIZE,
    DEQUANTIZE, QuantizeLinear, ...), `fake_quant` those that imitate quantization in float. `zero_channels` counts
    output channels of kernels whose weights are all zero, of `channels`: only such zeros could be left out of the
    computation. `first` is the kind of the first operator that computes, `first_integer` whether it does in integers.
    `kinds` has every kind of operator in the file, those that only handle shapes included, the most frequent first.
    `tensorflow` names the kinds that TensorFlow alone has kernels for (export.select_tf_ops), with their counts.
    """

    integer: int
    floating: int
    floating_names: dict[str, int] = Field(default_factory=dict)
    conversions: int = 0
    fake_quant: int = 0
    zero_channels: int = 0
    channels: int = 0
    first: str | None = None
    first_integer: bool = False
    kinds: dict[str, Kind] = Field(default_factory=dict)
    tensorflow: dict[str, int] = Field(default_factory=dict)

    @property
    def integer_share(self) -> float | None:
        """Of the operators that compute, how many do in integers, in [0, 1]; None where none computes."""
        every = self.integer + self.floating
        return self.integer / every if every else None
