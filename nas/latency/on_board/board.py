"""Times emitted graphs on the machine it runs on. One file: Python 3.9+, numpy and one runtime.

    python board.py < PACK > LINES

It imports nothing of the rest of the house: it is copied to a board and run there. PACK and LINES
are JSON lines. PACK: a header, then one job a line.

    {"protocol": 3, "runtime": "ncnn", "precision": "fp32", "threads": 1, "seed": 0,
     "anchors": [job, ...], "seconds": 240 or null, "empty": {"1x1": model, ...}, "timing": {...},
     "numbers": {"bias_fan_in": 200, "map_limit": 4.0, "weight_gain": 6.0}}
    {"job": "...", "model": "...", "inputs": [[c, h, w], ...], "outputs": 1, "visits": 3,
     "macs": 1, "is_whole": false, "has_plain_output": false; of onnxruntime also "weights":
     [[name, shape, fan_in, kind, step], ...], "inputs_are_uint8": false}

LINES: `hello` (protocol, environment), then `timing`, `anchor` and `failure` as they come
(`waiting` while the board cools), and `bye`. A job's `timing` holds every sample; nothing is
averaged here.

How it times. Parts of networks are timed in *rings* of some thirty that take turns: one run each,
round after round, in a new order each round. A part timed alone finds its weights in the nearest
cache, where no network leaves them: networks took 1.16 times the sum of such times, the more the
more weights they have; of times in rings 1.01 (benchmarks/rings.py, a Zen 4 core). In a ring, as
in a network, other parts have run in between; and as in a network, the part's input has just been
written, in the runtime's own packed layout. What ran right before a part moves its time by 6 % on
average (LOG.md): hence the new order each round, and several rings for each part (`visits`), each
dealt afresh so that small and large parts are in every ring alike. A ring spreads a part's samples
over seconds, so that a burst of other work spoils a few samples of many parts and not all samples
of one.

Every part's ring has the same `anchors` in it, whose times tell the reader how each round drifted,
and the graphs that do nothing, whose time (`overhead_ms`) is the cost of calling the runtime. Whole
networks take turns too, but are timed on the second of two runs, as a camera would run them; the
gauges run before and after (`beside_ms`, the geometric mean of their times).

The machine is kept busy before the first ring (`warmup_s`). A ring goes round for `warmup_runs`
rounds and `ring_warmup_s` unsampled, then is sampled until the 95 % interval of each median is
narrower than `interval` of it (`min_samples` at least, `cap_s` at most). Samples in which the
kernel took the core away are named in `preempted`, with the time that we had it in `cpu_ms` (one
thread only). Inputs and weights are ordinary random numbers (a denormal costs a hundred times a
normal number). Parts come in the order of the pack, by `stint`s of it: with a time limit
(`seconds`) those at the end stay out. Whole networks, which may take half of a limit, lie spread
over the session (`whole_ring_size`, `whole_min_samples`, `whole_cap_s`).

With `is_alone` one board.py at a time times on a machine; another waits `wait_s` and is refused.
"""

from __future__ import annotations

import base64
import gc
import json
import math
import os
import platform
import random
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

try:
    import fcntl
    import resource
except ImportError:
    IS_POSIX = False
else:
    IS_POSIX = True
"""Without them (Windows) no lock is held, and no sample is known to be preempted."""

PROTOCOL = 3
"""Version of PACK and LINES. 1: the first. 2: visits, gauges beside networks, int8. 3: numbers."""

THROTTLED_NOW = 0xF
"""Bits of the Pi's `get_throttled`: under-voltage, clock capped, throttled, soft limit."""

Json = dict[str, Any]


@dataclass
class Loaded:
    """A job that is ready: `prepare` writes its inputs afresh, `run` runs it once.

    results     runs it once more, and gives the outputs as arrays
    samples_ms  one number a run, by the wall clock
    preempted   indices of the samples in which the kernel gave the core to something else, and
    cpu_ms      the time that our thread ran in each of those
    beside_ms   of a whole network: what the gauges took before and after each sample
    """

    name: str
    is_whole: bool
    prepare: Callable[[], None]
    run: Callable[[], Any]
    results: Callable[[], list[Any]]
    samples_ms: list[float] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)

    def forget(self) -> None:
        """Drops the samples."""
        self.samples_ms, self.preempted, self.cpu_ms, self.beside_ms = [], [], [], []

    def sample(self) -> None:
        """Takes one sample."""
        self.prepare()
        if self.is_whole:
            self.run()
        switches = _switches()
        begin_cpu = time.thread_time_ns()
        begin = time.perf_counter_ns()
        self.run()
        elapsed = time.perf_counter_ns() - begin
        if _switches() != switches:
            self.preempted.append(len(self.samples_ms))
            self.cpu_ms.append(_rounded((time.thread_time_ns() - begin_cpu) / 1e6))
        self.samples_ms.append(_rounded(elapsed / 1e6))

    def is_settled(self, min_samples: int, interval: float) -> bool:
        """Whether the 95 % interval of the median is narrower than `interval` of it."""
        lost = set(self.preempted)
        whole = sorted(value for i, value in enumerate(self.samples_ms) if i not in lost)
        n = len(whole)
        if n < min_samples:
            return False
        reach = 0.98 * math.sqrt(n)
        low = max(0, math.floor((n - 1) / 2 - reach))
        high = min(n - 1, math.ceil((n - 1) / 2 + reach))
        return bool(whole[high] - whole[low] < interval * whole[n // 2])


def _rounded(ms: float) -> float:
    return float(f"{ms:.5g}")


class Runtime(Protocol):
    """What executes graphs here."""

    version: str

    def load(self, job: Json) -> Loaded:
        """The job's graph, ready; RuntimeError where the runtime doesn't take it."""


class Ncnn:
    """Tencent's ncnn, in the precision and with the threads of the pack's header."""

    def __init__(self, header: Json) -> None:
        import ncnn

        self.ncnn = ncnn
        self.version = str(ncnn.__version__)
        self.header = header
        # All graphs share their buffers, as the layers of one network do: memory that was just
        # freed by one is still in the cache for the next.
        self.blobs = ncnn.PoolAllocator()
        self.workspace = ncnn.PoolAllocator()
        # A leaky ReLU of slope 1: what comes out is what went in, packed.
        self.identity = self._net()
        self.identity.load_param_mem("7767517\n2 2\nInput i 0 1 in0\nReLU r 1 1 in0 out0 0=1.0\n")
        self.identity.load_model(ncnn.DataReaderFromEmpty())

    def load(self, job: Json) -> Loaded:
        net, parameters = self._net(), job["model"]
        # ncnn reads the weights where they lie: `weights` has to outlive the net.
        weights = _ncnn_weights(parameters, _generator(self.header, job), self.header["numbers"])
        if net.load_param_mem(parameters) != 0:
            raise RuntimeError("ncnn refuses the .param")
        net.load_model_mem(weights)
        generator = _generator(self.header, job)
        sources = [self._owned(_map(shape, generator)) for shape in job["inputs"]]
        outputs = [f"out{i}" for i in range(job["outputs"])]
        # 1: leave the output as the runtime has it inside a network, packed.
        form = 0 if job["has_plain_output"] else 1
        inputs: list[Any] = []

        def prepare() -> None:
            inputs[:] = sources if job["is_whole"] else [self._packed(mat) for mat in sources]

        def run(_keep: bytes = weights) -> int:
            extractor = net.create_extractor()
            for i, mat in enumerate(inputs):
                extractor.input(f"in{i}", mat)
            failed = 0
            for name in outputs:
                failed |= extractor.extract(name, form)[0]
            return failed

        def results() -> list[Any]:
            extractor = net.create_extractor()
            for i, mat in enumerate(sources):
                extractor.input(f"in{i}", mat)
            return [np.array(extractor.extract(name)[1]) for name in outputs]

        prepare()
        if run() != 0:
            raise RuntimeError("ncnn fails to run the graph")
        return Loaded(job["job"], job["is_whole"], prepare, run, results)

    def _net(self) -> Any:
        precision = self.header["precision"]
        net = self.ncnn.Net()
        net.opt.num_threads = self.header["threads"]
        net.opt.use_vulkan_compute = False
        net.opt.blob_allocator = self.blobs
        net.opt.workspace_allocator = self.workspace
        is_half = precision == "fp16"
        net.opt.use_fp16_packed = is_half
        net.opt.use_fp16_storage = is_half
        net.opt.use_fp16_arithmetic = is_half
        net.opt.use_bf16_packed = precision == "bf16"
        net.opt.use_bf16_storage = precision == "bf16"
        return net

    def _owned(self, array: Any) -> Any:
        # A Mat borrows the array's memory; clone() owns its own.
        return self.ncnn.Mat(array).clone()

    def _packed(self, mat: Any) -> Any:
        """The map freshly written in the layout that a layer of this build would hand on."""
        extractor = self.identity.create_extractor()
        extractor.input("in0", mat)
        failed, packed = extractor.extract("out0", 1)
        if failed:
            raise RuntimeError("ncnn fails to pack an input")
        return packed


def _ncnn_weights(parameters: str, generator: np.random.Generator, numbers: Json) -> bytes:
    """A `.bin` for a `.param`: per layer a flag, weights and biases, and in int8 the scales.

    The layout is that of ncnn's ModelBin: flag 0 fp32, 0x000D4B38 int8 (padded to 4 bytes); a
    weight scale for each output channel (of grouped convolutions for each group), and one scale of
    the layer's input.
    """
    parts = []
    for line in parameters.splitlines()[2:]:
        words = line.split()
        if words[0] not in ("Convolution", "ConvolutionDepthWise", "InnerProduct"):
            continue
        values = dict(word.split("=") for word in words[4:] if "=" in word)
        outputs = int(values["0"])
        count = int(values["2" if words[0] == "InnerProduct" else "6"])
        weights = _weights(count, count // outputs, generator, numbers)
        biases = _weights(outputs, numbers["bias_fan_in"], generator, numbers)
        if "8" not in values:
            parts += [struct.pack("<I", 0), weights.tobytes(), biases.tobytes()]
            continue
        step = _weight_limit(count // outputs, numbers) / 127
        quantised = _quantised(weights, step, np.int8).tobytes()
        parts += [
            struct.pack("<I", 0x000D4B38),
            quantised + bytes(-len(quantised) % 4),
            biases.tobytes(),
            np.full(int(values.get("7", outputs)), 1 / step, np.float32).tobytes(),
            np.float32(127 / numbers["map_limit"]).tobytes(),
        ]
    return b"".join(parts)


class OnnxRuntime:
    """ONNX Runtime on the CPU, with the threads of the pack's header."""

    def __init__(self, header: Json) -> None:
        import onnxruntime

        self.onnxruntime = onnxruntime
        self.version = str(onnxruntime.__version__)
        self.header = header
        # As with ncnn, one arena for all graphs.
        onnxruntime.create_and_register_allocator(
            onnxruntime.OrtMemoryInfo(
                "Cpu",
                onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
                0,
                onnxruntime.OrtMemType.DEFAULT,
            ),
            None,
        )

    def load(self, job: Json) -> Loaded:
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.header["threads"]
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.use_env_allocators", "1")
        generator = _generator(self.header, job)
        weights = [
            (weight[0], _onnx_weight(weight, generator, self.header["numbers"]))
            for weight in job["weights"]
        ]
        values = [self.onnxruntime.OrtValue.ortvalue_from_numpy(array) for _, array in weights]
        options.add_external_initializers([name for name, _ in weights], values)
        session = self.onnxruntime.InferenceSession(
            base64.b64decode(job["model"]), options, providers=["CPUExecutionProvider"]
        )
        generator = _generator(self.header, job)
        sources = [_map(shape, generator)[np.newaxis] for shape in job["inputs"]]
        if job["inputs_are_uint8"]:
            limit = self.header["numbers"]["map_limit"]
            sources = [_uint8_channels_last(source, limit) for source in sources]
        feeds = {f"in{i}": array.copy() for i, array in enumerate(sources)}

        def prepare() -> None:
            for feed, source in zip(feeds.values(), sources):  # noqa: B905  # Python 3.9
                np.copyto(feed, source)

        def run() -> Any:
            return session.run(None, feeds)

        run()
        return Loaded(job["job"], job["is_whole"], prepare, run, run)


def _onnx_weight(weight: list[Any], generator: np.random.Generator, numbers: Json) -> Any:
    """A weight, as nas/emit/qdq.py's `Weight` tells it: name, shape, fan in, kind and step."""
    _, shape, fan_in, kind, step = weight
    if kind == "scale":
        return np.full(shape, step, np.float32)
    values = _weights(math.prod(shape), fan_in, generator, numbers).reshape(shape)
    return values if kind == "float" else _quantised(values, step, np.dtype(kind))


def _uint8_channels_last(map_: Any, limit: float) -> Any:
    """A map (1, c, h, w) as a part of a quantised network takes it: uint8 (1, h, w, c)."""
    units = _quantised(map_, limit / 127, np.int32) + 128
    return np.ascontiguousarray(units.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


RUNTIMES: dict[str, Callable[[Json], Runtime]] = {"ncnn": Ncnn, "onnxruntime": OnnxRuntime}


def _generator(header: Json, job: Json) -> np.random.Generator:
    name = int.from_bytes(job["job"].encode(), "little")
    return np.random.default_rng([header["seed"], name])


def _weights(count: int, fan_in: int, generator: np.random.Generator, numbers: Json) -> Any:
    """Random weights (count,) float32 that keep a signal's size from layer to layer."""
    values = generator.random(count, dtype=np.float32) * np.float32(2) - np.float32(1)
    return values * np.float32(_weight_limit(fan_in, numbers))


def _weight_limit(fan_in: int, numbers: Json) -> float:
    """The largest of `_weights`."""
    return math.sqrt(numbers["weight_gain"] / max(fan_in, 1))


def _quantised(values: Any, step: float, kind: Any) -> Any:
    """Numbers in units of `step`, rounded and cut to the integers of that kind, -2^n left out."""
    limit = np.iinfo(kind).max
    return np.clip(np.rint(values / np.float32(step)), -limit, limit).astype(kind)


def _summary(array: Any) -> list[float]:
    """Mean and standard deviation: enough to see that two machines computed the same."""
    return [float(f"{array.mean():.5g}"), float(f"{array.std():.5g}")]


def _map(shape: list[int], generator: np.random.Generator) -> Any:
    return generator.standard_normal(shape, dtype=np.float32)


# ---------------------------------------------------------------- the state of the board


def environment(header: Json, runtime: Runtime) -> Json:
    """What stays the same during a session: machine, system, runtime, key and settings."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    found: Json = {
        "board": _read("/proc/device-tree/model").rstrip("\0")
        or _cpuinfo("model name")
        or platform.processor(),
        "architecture": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "runtime": header["runtime"],
        "runtime_version": runtime.version,
        "precision": header["precision"],
        "threads": header["threads"],
        "cores": os.cpu_count(),
        "cores_allowed": len(cores),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "max_mhz": _number("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", 1000),
        "is_emulated": platform.machine() == "aarch64" and bool(_cpuinfo("vendor_id")),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": header["seed"],
        "timing": header["timing"],
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def state() -> Json:
    """What changes: clock, temperature, load, throttling bits, time stolen by a hypervisor."""
    found: Json = {
        "mhz": _number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1000),
        "temp_c": _number("/sys/class/thermal/thermal_zone0/temp", 1000),
        "throttled": _throttled(),
        "stolen_s": _stolen(),
    }
    if hasattr(os, "getloadavg"):
        found["load"] = round(os.getloadavg()[0], 2)
    return {name: value for name, value in found.items() if value is not None}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:  # this board does not say: the field is left out
        return ""


def _number(path: str, divisor: float) -> float | None:
    text = _read(path)
    return round(float(text) / divisor, 1) if text.lstrip("-").isdigit() else None


def _cpuinfo(field: str) -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith(field):
            return line.partition(":")[2].strip()
    return ""


def _throttled() -> int | None:
    """The Raspberry Pi's bits (what `vcgencmd get_throttled` prints), where there are any."""
    text = _read("/sys/devices/platform/soc/soc:firmware/get_throttled")
    return int(text, 16) if text else None


def _stolen() -> float | None:
    words = _read("/proc/stat").split("\n", 1)[0].split()
    return int(words[8]) / 100 if len(words) > 8 else None


# ---------------------------------------------------------------- rings


class Session:
    """One pack on one runtime: times its rings, and says what it found, a line at a time."""

    def __init__(self, header: Json, jobs: list[Json], say: Callable[[Json], None]) -> None:
        self.header, self.timing, self.say = header, header["timing"], say
        self.jobs = {job["job"]: job for job in jobs}
        self.runtime = RUNTIMES[header["runtime"]](header)
        self.start = time.monotonic()
        self.whole_s = self.timing["whole_cap_s"]
        """Seconds to expect for a ring of whole networks."""
        self.spent_on_whole_s = 0.0
        """Seconds that rings of whole networks have taken so far."""

    def run(self) -> None:
        self.say({
            "line": "hello", "protocol": PROTOCOL,
            "environment": environment(self.header, self.runtime), "state": state(),
        })  # fmt: skip
        empties = {
            name: self.runtime.load({**job, "job": f"empty {name}"})
            for name, job in self.header["empty"].items()
        }
        # A gauge that the runtime objects to is one less: said by name, as for any other job.
        found = [self._load(self.jobs[name]) for name in self.header["anchors"]]
        gauges = [one for one in found if one is not None]
        end = time.perf_counter() + self.timing["warmup_s"]
        while time.perf_counter() < end:
            for loaded in [*empties.values(), *gauges]:
                loaded.sample()
        rings, done = self._rings(), 0
        for window, ring in enumerate(rings):
            if self._is_late(rings[window:]):
                continue
            begin = time.monotonic()
            done += self._time_ring(window, ring, empties, gauges)
            if ring[0]["is_whole"]:
                self.whole_s = max(self.whole_s, time.monotonic() - begin)
                self.spent_on_whole_s += time.monotonic() - begin
        seconds = round(time.monotonic() - self.start, 1)
        left = sum(map(len, rings)) - done
        self.say({"line": "bye", "done": done, "left": left, "seconds": seconds})

    def _rings(self) -> list[list[Json]]:
        """Rings of parts, visit after visit and stint by stint; those of networks among them."""
        rng = random.Random(self.header["seed"])
        rings: list[list[Json]] = []
        networks: list[list[Json]] = []
        for visit in range(max((job["visits"] for job in self.jobs.values()), default=0)):
            jobs = [job for job in self.jobs.values() if job["visits"] > visit]
            parts = [job for job in jobs if not job["is_whole"]]
            for start in range(0, len(parts), self.timing["stint"]):
                stint = parts[start : start + self.timing["stint"]]
                rings += _dealt(stint, self.timing["ring_size"], rng)
            whole = [job for job in jobs if job["is_whole"]]
            networks += _dealt(whole, self.timing["whole_ring_size"], rng)
        # From the last to the first, so that each comes to lie where it was meant to.
        for i in reversed(range(len(networks))):
            rings.insert(round((i + 0.5) * len(rings) / len(networks)), networks[i])
        return rings

    def _is_late(self, left: list[list[Json]]) -> bool:
        """Whether there is no time for the first of the rings left.

        Whole networks may take half of a limit and no more, parts what these leave.
        """
        limit = self.header["seconds"]
        if limit is None:
            return False
        for_whole_s = limit / 2 - self.spent_on_whole_s
        if left[0][0]["is_whole"]:
            return bool(self.whole_s > for_whole_s)
        wanted = self.whole_s * sum(ring[0]["is_whole"] for ring in left)
        reserved = min(wanted, max(0.0, for_whole_s))
        return bool(time.monotonic() - self.start + reserved > limit)

    def _time_ring(
        self, window: int, ring: list[Json], empties: dict[str, Loaded], gauges: list[Loaded]
    ) -> int:
        """Times one ring and says its lines; returns how many jobs it held."""
        before = self._cool(state())
        is_whole = ring[0]["is_whole"]
        loaded = [found for job in ring if (found := self._load(job)) is not None]
        rng = random.Random(window)
        for _ in range(3):
            for one in [*empties.values(), *gauges, *loaded]:
                one.forget()
            if is_whole:
                self._sample_networks([*empties.values()], gauges, loaded, rng)
            else:
                self._sample_parts([*empties.values(), *gauges], loaded, rng)
            after = state()
            if not after.get("throttled", 0) & THROTTLED_NOW:
                break
            # A throttled core measures its cooling, not the graphs: those samples go.
            after = self._cool(after)
        for one in () if is_whole else gauges:
            self._say_samples("anchor", one, window, {})
        for one in loaded:
            job = self.jobs[one.name]
            empty = empties[f"{len(job['inputs'])}x{job['outputs']}"]
            overhead = sorted(empty.samples_ms)[len(empty.samples_ms) // 2]
            more = {"overhead_ms": overhead, "before": before, "after": after}
            if is_whole:
                more["beside_ms"] = one.beside_ms
                more["results"] = [_summary(array) for array in one.results()]
            self._say_samples("timing", one, window, more)
        return len(ring)

    def _sample_parts(self, common: list[Loaded], loaded: list[Loaded], rng: random.Random) -> None:
        """Samples parts in rounds, each in an order of its own."""
        order = [*common, *loaded]
        for _ in self._rounds("warmup_runs", "ring_warmup_s"):
            rng.shuffle(order)
            for one in order:
                one.sample()
        for one in order:
            one.forget()
        for rounds in self._rounds("min_samples", "cap_s"):
            rng.shuffle(order)
            for one in order:
                one.sample()
            if rounds % 5 == 0 and self._are_settled(loaded, "min_samples"):
                break

    def _sample_networks(
        self,
        empties: list[Loaded],
        gauges: list[Loaded],
        loaded: list[Loaded],
        rng: random.Random,
    ) -> None:
        """Samples whole networks in rounds, with the gauges before and after each sample."""
        order = list(loaded)
        pace = _pace(gauges)
        for rounds in self._rounds("whole_min_samples", "whole_cap_s"):
            rng.shuffle(order)
            for one in order:
                one.sample()
                before, pace = pace, _pace(gauges)
                one.beside_ms.append(_rounded(math.sqrt(before * pace)))
            for empty in empties:
                empty.sample()
            if rounds % 5 == 0 and self._are_settled(loaded, "whole_min_samples"):
                break

    def _rounds(self, fewest: str, seconds: str) -> Iterator[int]:
        """Numbers of rounds from 1, for so many rounds and, after those, until so many seconds."""
        end = time.perf_counter() + self.timing[seconds]
        rounds = 0
        while rounds < self.timing[fewest] or time.perf_counter() < end:
            rounds += 1
            yield rounds

    def _are_settled(self, loaded: list[Loaded], fewest: str) -> bool:
        return all(one.is_settled(self.timing[fewest], self.timing["interval"]) for one in loaded)

    def _load(self, job: Json) -> Loaded | None:
        try:
            loaded = self.runtime.load(job)
            loaded.run()
        except Exception as error:
            # Whatever the runtime objects to costs this job alone, and is said by name.
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self.say({"line": "failure", "job": job["job"], "reason": reason})
            return None
        return loaded

    def _say_samples(self, kind: str, one: Loaded, window: int, more: Json) -> None:
        self.say({
            "line": kind, "job": one.name, "window": window,
            "samples_ms": one.samples_ms, "preempted": one.preempted,
            # With several threads our own thread's time says nothing about the others'.
            "cpu_ms": one.cpu_ms if self.header["threads"] == 1 else [], **more,
        })  # fmt: skip

    def _cool(self, now: Json) -> Json:
        """The state once the board is cool and unthrottled again, or after `cool_s` of waiting."""
        limit = self.timing["max_temp_c"]
        end = time.monotonic() + self.timing["cool_s"]
        target = limit
        while time.monotonic() < end:
            is_hot = limit is not None and now.get("temp_c", -math.inf) > target
            if not is_hot and not now.get("throttled", 0) & THROTTLED_NOW:
                break
            target = limit - 5 if limit is not None else None
            time.sleep(2)
            now = state()
            # Besides telling what it does, this ends a board whose caller has gone.
            self.say({"line": "waiting", "state": now})
        return now


def _dealt(jobs: list[Json], size: int, rng: random.Random) -> list[list[Json]]:
    """Rings of about `size` jobs, with large and small ones in every ring alike."""
    rings: list[list[Json]] = [[] for _ in range(math.ceil(len(jobs) / size))]
    ordered = sorted(jobs, key=lambda job: (job["macs"], job["job"]))
    for start in range(0, len(ordered), max(1, len(rings))):
        layer = ordered[start : start + len(rings)]
        rng.shuffle(layer)
        for ring, job in zip(rng.sample(rings, len(layer)), layer):  # noqa: B905  # Python 3.9
            ring.append(job)
    return rings


def _pace(gauges: list[Loaded]) -> float:
    """The geometric mean of what the gauges take now (ms); 1 where there are none."""
    for gauge in gauges:
        gauge.forget()
        gauge.sample()
    logs = [math.log(gauge.samples_ms[0]) for gauge in gauges]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def read_pack(lines: Iterator[str]) -> tuple[Json, list[Json]]:
    """Header and jobs; ValueError where the pack is of another protocol."""
    header = json.loads(next(lines))
    if header["protocol"] != PROTOCOL:
        raise ValueError(f"this board.py speaks protocol {PROTOCOL}, the pack {header['protocol']}")
    return header, [json.loads(line) for line in lines if line.strip()]


def _switches() -> int:
    """How often the kernel gave our core to something else; 0 where it doesn't say."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if IS_POSIX else 0


def hold_board(seconds: float) -> Any:
    """The user's lock on this machine, until the process ends; ValueError where another has it.

    Two profiles at once would time one another. One that was cut off may hold it for the rest of
    its ring: its next line finds nobody.
    """
    if not IS_POSIX:
        return None
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "pi-detector-nas"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "board.lock").open("a+")
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                lock.seek(0)
                raise ValueError(
                    f"another profile is at work on this machine: wait for it, or end it there "
                    f"(kill {lock.read().strip()})"
                ) from None
            time.sleep(0.2)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def main() -> None:
    """Runs the pack on stdin; exit 0 done, 2 refused (a line says why), 130 interrupted."""

    def say(line: Json) -> None:
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    alive: list[Any] = []
    code = 0
    try:
        header, jobs = read_pack(iter(sys.stdin))
        if header["timing"]["is_alone"]:
            alive.append(hold_board(header["timing"]["wait_s"]))
        gc.disable()
        alive.append(Session(header, jobs, say))
        alive[-1].run()
    except (ImportError, ValueError) as error:
        say({"line": "refusal", "reason": f"{type(error).__name__}: {error}"})
        code = 2
    except (BrokenPipeError, KeyboardInterrupt):
        code = 130
    except Exception:
        traceback.print_exc()
        code = 1
    # No tidying up, and the session alive to the end: ncnn's allocators have to outlive its nets,
    # and Python promises no order. The lock goes with the process.
    os._exit(code)


if __name__ == "__main__":
    main()
