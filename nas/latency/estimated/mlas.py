"""What ONNX Runtime does for an op on an ARM core, as amounts of a dozen units.

Its CPU kernels (MLAS, in microsoft/onnxruntime, MIT; read in sources of 2019 to 2025) have no
Winograd form and, unless built with it, no packed maps on ARM: every convolution is a product of
matrices, filters by cells of the map.

- A thread gets a stretch of columns (cells), a multiple of 16, or of rows where there are more
  filters than cells. A product of fewer than 65,536 multiplications per thread gets fewer threads.
- The kernel makes 4, 2 or 1 rows by 16 or 8 columns at a time: an odd rest costs more than its
  share.
- What is not a 1x1 of stride 1 first copies its patches: each thread its own, or a single one all
  of them where there are more filters than cells. Panels of the columns are then packed.
- A grouped convolution is one product after the other; its groups are not dealt to the threads.
  (Since 2025 they are, pull request 25255, and a depthwise 3x3 has a kernel of its own, 26688.)
- ReLU and ReLU6 are part of the convolution. SiLU is one op, made at loading (QuickGelu, 12417).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nas.latency.estimated.amounts import CALL, PLAIN_MS, Amount, memory_amount, plain_amounts
from nas.latency.estimated.op_work import OpWork

START_MS: Final[dict[str, float]] = {
    "products": 0.15,
    "packed": 0.15,
    "patches": 0.3,
    "patch rows": 2.0,
    "partial sums": 0.3,
    "weights": 0.5,
    "memory": 2.0,
    **PLAIN_MS,
}
"""What a million of each unit (or one call) may take in ms, roughly: where a fit starts from.
Four products a cycle of 1.5 GHz, a word of memory at 2 GB/s, and some cycles for the rest."""

SPEEDS: Final = (
    ("products",),
    ("packed", "patches", "patch rows", "partial sums", "moved", "upsampled"),
    ("exponentials", "elements", "pooled"),
    ("weights", "memory"),
    ("convolutions", "other ops"),
)
"""What is faster or slower together on another board: arithmetic, copies in the caches, work on
single numbers, the memory, calls."""

PANEL: Final = 128
"""Rows and columns of a packed panel."""

THREAD_PRODUCTS: Final = 64 * 1024
"""Multiplications that are worth a thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Share:
    """What the busiest thread makes of a product of matrices: rows by columns."""

    rows: int
    columns: int


def amounts(op: OpWork, threads: int) -> list[Amount]:
    """What an op needs of each unit in fp32, on so many threads."""
    own = _convolution(op, threads) if op.weights else plain_amounts(op)
    return [memory_amount(op, 4), *own]


def _convolution(op: OpWork, threads: int) -> list[Amount]:
    filters, cells = op.channels_out // op.groups, op.height * op.width
    depth = op.weights // op.channels_out
    is_direct = op.cells == 1 and op.stride == 1
    share = _share(filters, cells, depth, 1 if is_direct and op.groups > 1 else threads)
    turns = -(-op.groups // threads) if is_direct else op.groups
    wide, deep = _panel(share.columns, depth)
    padded = _up(share.columns, 16)
    copied = 0 if is_direct else depth * (cells if filters > cells else share.columns)
    again = filters * depth * (-(-share.columns // wide) - 1)
    each = {
        "products": _row_products(share.rows) * _columns(share.columns) * depth,
        "packed": padded * depth,
        "patches": copied,
        "patch rows": copied / op.width,
        "partial sums": share.rows * padded * -(-depth // deep),
    }
    return [
        *(Amount(unit=unit, count=turns * count) for unit, count in each.items()),
        Amount(unit="weights", count=op.weights),
        Amount(unit="weights", count=op.groups * again, footprint_bytes=4.0 * op.weights),
        Amount(unit="convolutions", count=CALL),
    ]


def _share(rows: int, columns: int, depth: int, threads: int) -> _Share:
    count = min(threads, rows * columns * depth // THREAD_PRODUCTS + 1)
    if columns >= rows:
        blocks = -(-columns // 16)
        return _Share(rows=rows, columns=min(columns, -(-blocks // min(count, blocks)) * 16))
    return _Share(rows=-(-rows // min(count, rows)), columns=columns)


def _panel(columns: int, depth: int) -> tuple[int, int]:
    """The width and the depth of a panel: it is stretched where the other is short."""
    wide, deep = PANEL, PANEL
    while columns >= depth and deep // 2 >= depth:
        wide, deep = 2 * wide, deep // 2
    while columns < depth and wide > 16 and wide // 2 >= columns:
        wide, deep = wide // 2, 2 * deep
    return wide, deep


def _row_products(rows: int) -> float:
    """The rows, those beyond a multiple of 4 at what they take (the loads are then in the way)."""
    return rows // 4 * 4 + (0.0, 1.5, 2.3, 3.8)[rows % 4]


def _columns(columns: int) -> int:
    """The columns that the kernel works out: by 16, a rest of up to 8 by 8."""
    rest = columns % 16
    return columns - rest + (0 if rest == 0 else 8 if rest <= 8 else 16)


def _up(count: int, step: int) -> int:
    return -(-count // step) * step
