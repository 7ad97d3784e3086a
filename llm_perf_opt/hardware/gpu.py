"""What the catalogue knows of one GPU: dense peaks, clocks, memory, names, and where each figure comes from."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Dtype = Literal["fp64", "fp64_matrix", "fp32", "fp32_matrix", "tf32", "bf16", "fp16", "fp8", "fp4", "int8"]
"""Operand types. `fp32` and `fp64` are the ordinary vector units, `_matrix` the tensor or matrix cores in that type."""

Accumulate = Literal["fp64", "fp32", "fp16", "int32"]
"""Types that products are summed in."""

USUAL_ACCUMULATE: dict[str, Accumulate] = {"fp64": "fp64", "fp64_matrix": "fp64", "int8": "int32"}
"""What libraries accumulate in unless asked otherwise; every type not listed accumulates in fp32."""

HIGH_PRECISION: frozenset[str] = frozenset({"fp32", "fp64", "fp32_matrix", "fp64_matrix"})
"""Types whose peak assumes `high_precision_clock_mhz`; every other assumes `low_precision_clock_mhz`."""

DTYPES: tuple[Dtype, ...] = get_args(Dtype)

NULLABLE = ("low_precision_clock_mhz", "high_precision_clock_mhz", "sm_count", "l2_bytes")

Architecture = Literal[
    "volta", "turing", "ga100", "ga10x", "ada", "hopper", "blackwell", "blackwell_ultra", "rtx_blackwell",
    "cdna2", "cdna3", "cdna4",
]  # fmt: skip

SourceGroup = Literal["compute", "clocks", "memory", "l2", "names"]

Mhz = Annotated[int, Field(gt=0, lt=10_000)]
Tflops = Annotated[float, Field(gt=0, lt=100_000)]
Url = Annotated[str, Field(pattern=r"^https://[^ ]+$")]


class Peak(BaseModel):
    """A dense peak: no structured sparsity, every unit busy in every clock.

    `flops_per_s` counts a multiply and an add as two; for int8 they are integer operations per second.
    `clock_mhz` is the clock the figure assumes, null where its publisher does not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    dtype: Dtype
    accumulate: Accumulate
    flops_per_s: float
    clock_mhz: int | None
    sources: tuple[str, ...]

    def at_clock(self, clock_mhz: float) -> float | None:
        """The same peak at another clock, FLOP/s; None where the clock it was published for is unknown.

        Boards may run above the clock their publisher assumes (GeForce ones usually do), so a measurement can
        pass the published peak honestly; against the peak at the observed clock it cannot.
        """
        return None if self.clock_mhz is None else self.flops_per_s * clock_mhz / self.clock_mhz


class Interconnect(BaseModel):
    """What joins a GPU to others, in its maker's own machine; rates are of one GPU and one direction."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    link: str
    """What people call it: NVLink 4."""
    link_gbs: Annotated[float, Field(gt=0)]
    """10**9 bytes per second to the GPUs it joins; data sheets give both directions together."""
    link_gpus: Annotated[int, Field(gt=1)]
    """GPUs that it joins, all at this rate."""
    network_gbs: Annotated[float, Field(gt=0)] | None = None
    """10**9 bytes per second between machines; null where the sources name none."""
    sources: Annotated[tuple[Url, ...], Field(min_length=1)]


class Gpu(BaseModel):
    """One GPU as a program sees it (a device of the driver; one die of an MI250X).

    Whatever is null is listed in `missing` with the reason, and so is every operand type without a peak.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, protected_namespaces=())

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    """Name in configurations and tables; also the name of the file."""
    title: str
    """What people call it."""
    vendor: Literal["nvidia", "amd"]
    architecture: Architecture
    driver_names: Annotated[tuple[str, ...], Field(min_length=1)]
    """Exactly what the driver and torch report for it."""
    compute_capability: str
    """CUDA's major.minor, or the LLVM target of an AMD GPU."""
    sm_count: Annotated[int, Field(gt=0)] | None
    """Streaming multiprocessors, or AMD compute units."""
    low_precision_clock_mhz: Mhz | None
    """Clock that the TF32, 16-, 8- and 4-bit peaks assume; on Hopper lower than the other."""
    high_precision_clock_mhz: Mhz | None
    """Clock that the fp32 and fp64 peaks assume, tensor or matrix cores included: usually the boost clock."""
    memory_bytes: Annotated[int, Field(gt=0)]
    """Capacity as sold, counting a data sheet's GB as 2**30 bytes; drivers report a little less."""
    memory_bandwidth_gbs: Annotated[float, Field(gt=0)]
    """Peak memory bandwidth in 10**9 bytes per second."""
    l2_bytes: Annotated[int, Field(gt=0)] | None
    """Last cache in front of memory that all of the device shares as its L2."""
    dense_peak_tflops: dict[Dtype, dict[Accumulate, Tflops]]
    """Operand type → accumulate type → 10**12 operations per second, dense."""
    interconnect: Interconnect | None = None
    """Null where it is joined by nothing faster than the machine's own bus, or that is not known."""
    missing: dict[str, str]
    """Why a figure is absent: a null field, or an operand type without a peak."""
    sources: dict[SourceGroup, Annotated[tuple[Url, ...], Field(min_length=1)]]
    """Pages the figures were taken from, by group."""
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _every_gap_has_a_reason(self) -> Gpu:
        gaps = {name for name in NULLABLE if getattr(self, name) is None}
        gaps |= {dtype for dtype in DTYPES if dtype not in self.dense_peak_tflops}
        if gaps != set(self.missing):
            raise ValueError(f"{self.id}: null or absent {sorted(gaps)}, but reasons for {sorted(self.missing)}")
        groups: set[SourceGroup] = {"compute", "memory", "names"}
        groups |= {"l2"} if self.l2_bytes is not None else set()
        groups |= (
            {"clocks"}
            if self.low_precision_clock_mhz is not None or self.high_precision_clock_mhz is not None
            else set()
        )
        if groups - set(self.sources):
            raise ValueError(f"{self.id}: no source for {sorted(groups - set(self.sources))}")
        return self

    @property
    def memory_bandwidth_bytes_per_s(self) -> float:
        """Peak memory bandwidth, bytes per second."""
        return self.memory_bandwidth_gbs * 1e9

    def peak_flops(self, dtype: Dtype, accumulate: Accumulate | None = None) -> Peak | None:
        """The dense peak for an operand type, or None where none is known (`why_no_peak` says why).

        Args:
            dtype: operand type of the products.
            accumulate: type they are summed in; None takes what libraries use (fp32; int32 for int8; fp64 for fp64).
        """
        wanted = accumulate or USUAL_ACCUMULATE.get(dtype, "fp32")
        tflops = self.dense_peak_tflops.get(dtype, {}).get(wanted)
        if tflops is None:
            return None
        clock_mhz = self.high_precision_clock_mhz if dtype in HIGH_PRECISION else self.low_precision_clock_mhz
        return Peak(
            dtype=dtype,
            accumulate=wanted,
            flops_per_s=tflops * 1e12,
            clock_mhz=clock_mhz,
            sources=self.sources["compute"],
        )

    def why_no_peak(self, dtype: Dtype, accumulate: Accumulate | None = None) -> str:
        """The reason `peak_flops` gives None for these types."""
        if dtype in self.missing:
            return self.missing[dtype]
        wanted = accumulate or USUAL_ACCUMULATE.get(dtype, "fp32")
        return f"no published {self.title} peak for {dtype} accumulating in {wanted}"
