"""Takes a detector out of torch: files that ONNX Runtime, OpenCV, ncnn and MMYOLO read.

    python -m nas.export runs/a/models/NAME.yaml --weights runs/b/NAME-s0/best.pt
    python -m nas.export NAME.yaml --weights best.pt --format onnx ncnn mmyolo --precision fp32 fp16
    python -m nas.export NAME.yaml --weights best.pt --precision fp32 int8 --data my.yaml
    python -m nas.export NAME.yaml --weights best.pt --bundle --data my.yaml

Each file is run by its own runtime and compared with torch before anything is left; report.json
says how far off it is, and what a program needs to know to use it (docs/integrations.md). A bundle
is a folder that runs on a board as it is (docs/deploying.md). An int8 file says what it loses and
what it wins, and is not left where that is too much or nothing (docs/int8.md).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro

from nas import NasError
from nas.terminal import RUNS, command_line, run_folder, say, show_table

if TYPE_CHECKING:
    from nas.bundle.folder import Bundling
    from nas.deploy.report import Exported, ExportReport
    from nas.detector.builder import Detector
    from nas.quantisation.gate import Int8File, Quantiser
    from nas.space.image_size import ImageSize
    from nas.space.spec import Row
    from nas.training.on_disk.checkpoint import Checkpoint


MAX_MAP_DROP: Final = 1.0
"""Points of mAP50-95 that an int8 file may lose where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Export a detector to ONNX, ncnn or MMYOLO."""

    model: Annotated[Path, tyro.conf.Positional]
    """A model YAML in YOLOv5 form."""
    weights: Path | None = None
    """A best.pt or last.pt of nas.train, trained from this model; without it the weights are drawn
    at random, which is good for timing and for nothing else."""
    format: tuple[Literal["onnx", "ncnn", "mmyolo"], ...] = ("onnx", "ncnn")
    """What to write."""
    precision: tuple[Literal["fp32", "fp16", "int8"], ...] = ("fp32",)
    """How ONNX and ncnn files store their weights; one of each is written. int8 computes in 8 bits,
    is graded on the validation part of --data, and refused where it isn't worth its loss."""
    calib: str | None = None
    """Of int8: pictures that ranges of maps are found on, a folder, a list or a data.yaml; by
    default the training part of --data."""
    max_map_drop: float | None = None
    """Of int8: points of mAP50-95 (hundredths) that it may lose on the validation part (default:
    1.0)."""
    outputs: Literal["boxes", "maps"] = "boxes"
    """Of the ONNX file: decoded boxes as the head's own tool exports them, or the raw maps."""
    image_size: str | None = None
    """Pixels: 320 is a square, 320x192 is 320 wide and 192 high, each a multiple of 32; by default
    that of the weights, else the model's own, else 320."""
    bundle: bool = False
    """Leave all that a board needs: weights, class names, detect.py, and how good each file is."""
    data: str | None = None
    """Of a bundle and of int8: the data set on whose validation part files are graded."""
    device: str | None = None
    """Of a bundle and of int8: the board that latencies are told for (default: rpi4); with `host`
    fp32 and int8 are timed here."""
    run: str | None = None
    """The name of the folder in runs/, or its path; an earlier export there is replaced."""
    json: bool = False
    """Print the report as one JSON document."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is exported: a detector with its weights, and where these come from."""

    detector: Detector
    image_size: ImageSize
    names: tuple[str, ...]
    weights: str
    checkpoint: Checkpoint | None


def run(arguments: Arguments) -> None:
    """Reads the model and its weights, writes and checks each format, and prints the report."""
    from nas.deploy.report import check_folder, leave_export

    check(arguments)
    subject = read_subject(arguments)
    folder = folder_of(arguments, subject)
    check_folder(folder)
    bundling = open_bundling(arguments, subject, folder) if arguments.bundle else None
    quantiser = open_quantiser(arguments, subject) if "int8" in arguments.precision else None
    if subject.checkpoint is None:
        say(f"no --weights: {subject.weights}; good for timing, and for nothing else")
        if subject.detector.spec.has_open_anchors:
            say("its anchors are fitted to no data yet (nas.train does): usual ones stand for them")

    def make(inside: Path) -> ExportReport:
        report = export(arguments, subject, inside, quantiser)
        return report if bundling is None else bundling.complete(report, inside)

    document = leave_export(folder, make)
    if arguments.json:
        print(json.dumps(document, indent=1))
    else:
        show(document, folder)
        if bundling is not None:
            say(f"to copy it: scp -r {folder} {bundling.host}: (its README.md says how to run it)")


def check(arguments: Arguments) -> None:
    """NasError for flags that make no sense together."""
    for flag, values in (("--format", arguments.format), ("--precision", arguments.precision)):
        if not values or len(set(values)) != len(values):
            got = " ".join(values) or "none"
            raise NasError(flag, "at least one is named, and none twice", got, "See --help")
    check_graded(arguments)
    check_bundle(arguments)
    check_int8(arguments)
    told = {
        "--precision": (arguments.precision == ("fp32",), {"onnx", "ncnn"}),
        "--outputs": (arguments.outputs == "boxes", {"onnx"}),
    }
    for flag, (is_default, formats) in told.items():
        if not is_default and not formats & set(arguments.format):
            raise NasError(
                flag,
                f"the flag is for {' and '.join(sorted(formats))}",
                f"--format {' '.join(arguments.format)}",
                f"Leave {flag} out, or add one of them to --format",
            )


def check_graded(arguments: Arguments) -> None:
    """NasError for flags of what is graded where nothing is."""
    is_int8 = "int8" in arguments.precision
    for flag, value, belongs in (
        ("--data", arguments.data, arguments.bundle or is_int8),
        ("--device", arguments.device, arguments.bundle or is_int8),
        ("--calib", arguments.calib, is_int8),
        ("--max-map-drop", arguments.max_map_drop, is_int8),
    ):
        if value is not None and not belongs:
            is_both = flag in ("--data", "--device")
            raise NasError(
                flag,
                f"the flag is for {'a bundle and for int8' if is_both else 'int8'}",
                f"{'no --bundle, and ' if is_both else ''}--precision "
                f"{' '.join(arguments.precision)}",
                f"Add {'--bundle or ' if is_both else ''}int8 to --precision, or leave {flag} out"
                if not is_both
                else f"Add --bundle, or int8 to --precision, or leave {flag} out",
            )


def check_int8(arguments: Arguments) -> None:
    """NasError for an int8 export that lacks what it is graded by."""
    if "int8" not in arguments.precision:
        return
    if arguments.weights is None:
        raise NasError(
            "--precision int8",
            "what int8 loses is known of trained weights alone",
            "no --weights",
            "Give the best.pt of nas.train; nas.predict --precision int8 tells times without",
        )
    if arguments.data is None:
        raise NasError(
            "--precision int8",
            "a file called int8 is graded on validation images",
            "no --data",
            "Name the data.yaml that the weights were trained on",
        )
    drop = arguments.max_map_drop
    if drop is not None and not 0 <= drop <= 100:
        raise NasError(
            "--max-map-drop",
            "points of mAP50-95 lie between 0 and 100",
            f"{drop:g}",
            "1.0, the default, is 0.01 of mAP50-95",
        )


def check_bundle(arguments: Arguments) -> None:
    """NasError for a bundle that would lack something."""
    if not arguments.bundle:
        return
    if arguments.weights is None:
        raise NasError(
            "--bundle",
            "a bundle finds objects, so it has trained weights",
            "no --weights",
            "Give the best.pt of nas.train, or the .pt beside a model of a search's front",
        )
    if arguments.data is None:
        raise NasError(
            "--bundle",
            "a bundle says the mAP of each of its files, graded on validation images",
            "no --data",
            "Name the data.yaml that the weights were trained on",
        )
    if not {"onnx", "ncnn"} & set(arguments.format):
        raise NasError(
            "--bundle",
            "detect.py runs an ONNX or an ncnn file",
            f"--format {' '.join(arguments.format)}",
            "Add onnx or ncnn",
        )


def open_bundling(arguments: Arguments, subject: Subject, folder: Path) -> Bundling:
    """What completes a bundle, once its data set and its board are read."""
    from nas.bundle.folder import Bundling
    from nas.bundle.worth import Worth, graded_part
    from nas.data.dataset import read_data
    from nas.latency.device import read_device

    assert subject.checkpoint is not None
    assert arguments.data is not None
    device = read_device(arguments.device or "rpi4")
    data = read_data(arguments.data)
    for tally in data.tallies:
        say(f"{data.name}, {tally}")
    part, graded_on = graded_part(data, subject.names, subject.image_size)
    return Bundling(
        worth=Worth(
            spec=subject.detector.spec, image_size=subject.image_size, part=part, device=device
        ),
        graded_on=graded_on,
        checkpoint=subject.checkpoint,
        name=folder.name,
        host=device.default_host or "pi@raspberrypi.local",
    )


def open_quantiser(arguments: Arguments, subject: Subject) -> Quantiser:
    """What makes int8 files, once data, pictures and board are read and maps' ranges are seen."""
    from nas.data.dataset import check_gradable, load_part, read_data
    from nas.latency.device import read_device
    from nas.quantisation.gate import Quantiser, prepared
    from nas.quantisation.pictures import calibration_pictures

    assert arguments.data is not None
    device = read_device(arguments.device or "rpi4")
    data = read_data(arguments.data)
    if data.names != subject.names:
        raise NasError(
            "--data",
            f"the data set has the classes that the weights were taught: "
            f"{', '.join(subject.names)}",
            f"{', '.join(data.names)} ({data.name})",
            "Name the data set that the weights were trained on",
        )
    check_gradable(data)
    pictures = calibration_pictures(arguments.calib, data, subject.image_size)
    drop = MAX_MAP_DROP if arguments.max_map_drop is None else arguments.max_map_drop
    return Quantiser(
        source=prepared(subject.detector, subject.image_size, subject.names, pictures),
        part=load_part(data, "val", subject.image_size),
        part_told=f"{data.name}, val",
        pictures_told=pictures.source,
        device=device,
        max_drop=drop / 100,
        tell=say,
    )


def read_subject(arguments: Arguments) -> Subject:
    """The detector with the weights that are given, or with random ones."""
    from nas.deploy.weights import SEED, random_detector
    from nas.space.spec import image_size_of, read_spec

    spec = read_spec(arguments.model)
    if arguments.weights is None:
        image_size = image_size_of(arguments.image_size, [spec])
        return Subject(
            detector=random_detector(spec, image_size),
            image_size=image_size,
            names=tuple(str(i) for i in range(spec.num_classes)),
            weights=f"random ones (seed {SEED})",
            checkpoint=None,
        )
    checkpoint = read_weights(arguments.weights, arguments.model)
    return Subject(
        detector=checkpoint.build(),
        image_size=image_size_of(arguments.image_size or str(checkpoint.image_size), []),
        names=checkpoint.names,
        weights=str(arguments.weights),
        checkpoint=checkpoint,
    )


def read_weights(path: Path, model: Path) -> Checkpoint:
    """The checkpoint; NasError where it was trained from another model than the YAML."""
    from nas.space.spec import parse_spec, parse_written, read_spec
    from nas.training.on_disk.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    asked, trained = read_spec(model), parse_written(checkpoint.model, str(path))
    # A file of ours from before `channel_multiple` stood in it is read as YOLOv5 would.
    if asked.rows not in (trained.rows, parse_spec(checkpoint.model, str(path)).rows):
        raise NasError(
            str(path),
            f"the weights were trained from {model} (classes and anchors may differ)",
            other_row(asked.rows, trained.rows),
            f"Give the model.yaml that lies beside {path.name}",
        )
    if asked.activation != trained.activation:
        raise NasError(
            str(path),
            f"the weights were trained from {model}, with its activation {asked.activation}",
            f"activation {trained.activation}",
            f"Give the model.yaml that lies beside {path.name}",
        )
    for name, value in checkpoint.weights.items():
        if not bool(value.isfinite().all()):
            raise NasError(
                str(path),
                "every weight is a finite number",
                f"{name} with NaN or infinite ones",
                "Its training diverged: give an earlier checkpoint, or train at a lower rate",
            )
    return checkpoint


def other_row(asked: tuple[Row, ...], trained: tuple[Row, ...]) -> str:
    """In which row two models first differ, and how."""
    pairs = zip(asked, trained, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    if first is None:
        return f"{len(trained)} rows instead of {len(asked)}"
    mine, theirs = asked[first], trained[first]
    told = [f"{row.number} x {row.module} {list(row.args)}" for row in (theirs, mine)]
    return f"row {first} (tensors model.{first}.*): {told[0]} instead of {told[1]}"


def folder_of(arguments: Arguments, subject: Subject) -> Path:
    """Where the export is left."""
    if arguments.run is not None:
        return run_folder(arguments.run)
    name = re.sub(r"[^\w.-]+", "_", arguments.model.stem)
    kind = "bundle" if arguments.bundle else "export"
    return RUNS / f"{kind}-{name}-{subject.image_size}px"


def export(
    arguments: Arguments, subject: Subject, folder: Path, quantiser: Quantiser | None
) -> ExportReport:
    """Writes every format into the folder, checked, and tells what was written."""
    from nas.deploy.report import ExportReport
    from nas.detector.anchor_free import AnchorFreeDetect
    from nas.integrations.trainers import trainers
    from nas.space.search_space import architecture_digest

    # First what may be refused.
    int8 = [] if quantiser is None else export_int8(arguments, subject, folder, quantiser)
    exported: list[Exported] = []
    for precision in arguments.precision:
        if precision == "int8":
            continue
        if "onnx" in arguments.format:
            exported.append(export_onnx(arguments, subject, folder, precision))
        if "ncnn" in arguments.format:
            exported.append(export_ncnn(arguments, subject, folder, precision))
    exported += int8
    if "mmyolo" in arguments.format:
        exported.append(export_mmyolo(arguments, subject, folder))
    spec, head = subject.detector.spec, subject.detector.head
    return ExportReport(
        model=arguments.model.stem,
        digest=architecture_digest(spec, subject.image_size),
        image_size=subject.image_size,
        classes=subject.names,
        anchors=spec.anchors,
        strides=tuple(head.strides),
        head="anchor-free" if isinstance(head, AnchorFreeDetect) else "anchors",
        bins=head.bins if isinstance(head, AnchorFreeDetect) else 0,
        weights=subject.weights,
        map50_95=None if subject.checkpoint is None else subject.checkpoint.map50_95,
        exported=tuple(exported),
        trainers={one.tool: one.share for one in trainers(spec, arguments.model.name)},
        versions=versions(),
    )


def export_onnx(
    arguments: Arguments, subject: Subject, folder: Path, precision: Literal["fp32", "fp16"]
) -> Exported:
    """One ONNX file, run by ONNX Runtime."""
    from nas.deploy.check import compare, run_onnx
    from nas.deploy.decode import layout_of
    from nas.deploy.onnx import output_names, to_onnx
    from nas.deploy.picture import picture
    from nas.deploy.report import Exported

    has_boxes = arguments.outputs == "boxes"
    path = folder / f"{arguments.model.stem}-{precision}.onnx"
    content = to_onnx(
        subject.detector, subject.image_size, precision, has_boxes=has_boxes, names=subject.names
    )
    path.write_bytes(content)
    image = picture(subject.image_size)
    error = compare(
        subject.detector, precision, image, run_onnx(path, image), path.name, has_boxes=has_boxes
    )
    return Exported(
        format="onnx",
        precision=precision,
        files=(path.name,),
        input="images",
        outputs=output_names(subject.detector, has_boxes=has_boxes),
        holds=f"{layout_of(subject.detector)} boxes" if has_boxes else "maps",
        error=error,
    )


def export_ncnn(
    arguments: Arguments, subject: Subject, folder: Path, precision: Literal["fp32", "fp16"]
) -> Exported:
    """An ncnn `.param` and `.bin`, run by ncnn."""
    from nas.deploy.check import compare, run_ncnn
    from nas.deploy.ncnn import to_ncnn
    from nas.deploy.onnx import output_names
    from nas.deploy.picture import picture
    from nas.deploy.report import Exported

    model = to_ncnn(subject.detector, subject.image_size, precision)
    param = folder / f"{arguments.model.stem}-{precision}.ncnn.param"
    binary = param.with_suffix(".bin")
    param.write_text(model.param, encoding="utf-8")
    binary.write_bytes(model.bin)
    image = picture(subject.image_size)
    error = compare(
        subject.detector,
        precision,
        image,
        run_ncnn(param, binary, image),
        param.name,
        has_boxes=False,
    )
    return Exported(
        format="ncnn",
        precision=precision,
        files=(param.name, binary.name),
        input="in0",
        outputs=output_names(subject.detector, has_boxes=False),
        holds="maps",
        error=error,
    )


def export_int8(
    arguments: Arguments, subject: Subject, folder: Path, quantiser: Quantiser
) -> list[Exported]:
    """Int8 files of each format that has them. Int8Error where one isn't worth its loss."""
    found = []
    if "onnx" in arguments.format:
        file = quantiser.onnx(has_boxes=arguments.outputs == "boxes")
        found.append(write_int8(arguments, subject, folder, "onnx", file))
    if "ncnn" in arguments.format:
        found.append(write_int8(arguments, subject, folder, "ncnn", quantiser.ncnn()))
    return found


def write_int8(
    arguments: Arguments,
    subject: Subject,
    folder: Path,
    kind: Literal["onnx", "ncnn"],
    file: Int8File,
) -> Exported:
    """Writes an int8 file, and tells of it."""
    from nas.deploy.decode import layout_of
    from nas.deploy.onnx import output_names
    from nas.deploy.report import Exported

    for ending, content in file.contents.items():
        (folder / f"{arguments.model.stem}-int8{ending}").write_bytes(content)
    has_boxes = kind == "onnx" and arguments.outputs == "boxes"
    return Exported(
        format=kind,
        precision="int8",
        files=tuple(f"{arguments.model.stem}-int8{ending}" for ending in file.contents),
        input="images" if kind == "onnx" else "in0",
        outputs=output_names(subject.detector, has_boxes=has_boxes),
        holds=f"{layout_of(subject.detector)} boxes" if has_boxes else "maps",
        int8=file.facts,
    )


def export_mmyolo(arguments: Arguments, subject: Subject, folder: Path) -> Exported:
    """A configuration for MMYOLO, the model YAML and, if they are trained, the weights."""
    from nas.deploy.report import Exported
    from nas.integrations.mmyolo import mmyolo_config
    from nas.integrations.mmyolo_weights import save_backbone
    from nas.space.spec import dump_spec

    name, spec = arguments.model.stem, subject.detector.spec
    files = [f"{name}_mmyolo.py", f"{name}.yaml"]
    if subject.checkpoint is not None:
        files.append(f"{name}_backbone.pth")
        save_backbone(folder / files[-1], subject.detector)
    weights = files[2] if len(files) == 3 else None
    config = mmyolo_config(spec, files[1], weights, str(arguments.model))
    (folder / files[0]).write_text(config, encoding="utf-8")
    (folder / files[1]).write_text(dump_spec(spec), encoding="utf-8")
    return Exported(format="mmyolo", precision="fp32", files=tuple(files))


def versions() -> dict[str, str]:
    """Of what wrote and checked the files."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "onnx", "onnxruntime", "ncnn")}


def show(document: dict[str, Any], folder: Path) -> None:
    """What was left, for people."""
    from rich.table import Table

    print(f"{document['model']}, {document['image_size']} px, {document['weights']}")
    names = [name for one in document["exported"] for name in one["bytes"]]
    is_graded = document["graded_on"] is not None
    table = Table(box=None, pad_edge=False)
    # A name that is cut short would not tell one file from the next.
    table.add_column("file", overflow="fold", min_width=max(map(len, names)))
    for heading in ("MB", "holds", "off torch by", *(("mAP50-95", "ms") if is_graded else ())):
        table.add_column(heading)
    for one in document["exported"]:
        for index, (name, size) in enumerate(one["bytes"].items()):
            table.add_row(name, f"{size / 1e6:.2f}", *(facts(one) if index == 0 else ()))
    show_table(table)
    if is_graded:
        show_worth(document)
    for one in document["exported"]:
        if one["int8"] is not None:
            print(int8_line(one["files"][0], one["int8"]))
    told = ", ".join(f"{tool}: {share}" for tool, share in document["trainers"].items())
    print(f"trained further by nas.train; {told}")
    say(f"left in {folder}: report.json says what a program needs to know")


def int8_line(name: str, told: dict[str, Any]) -> str:
    """What an int8 file loses and wins."""
    from nas.deploy.report import Int8Speed
    from nas.quantisation.speed import told_speed

    count = sum(one["computes"] != "float" for one in told["layers"])
    return (
        f"{name}: {count} of {len(told['layers'])} convolutions in int8; mAP50-95 "
        f"{told['map50_95']:.4f}, {told['fp32_map50_95']:.4f} in fp32 ({told['part']}, "
        f"{told['images']} images; {told['arithmetic']}); {told_speed(Int8Speed(**told['speed']))}"
    )


def facts(one: dict[str, Any]) -> list[str]:
    """What is told of an exported model beside its files."""
    if one["error"] is None and one["int8"] is None:
        return []
    error = one["error"]
    off = "" if error is None else f"{error['max_error']:.2g} of {error['largest']:.4g}"
    found = [one["holds"], off]
    if one["grade"] is not None:
        latency = one["latency"]
        found.append(f"{one['grade']['map50_95']:.4f}")
        found.append("unknown" if latency["ms"] is None else f"{latency['ms']:.1f}")
    return found


def show_worth(document: dict[str, Any]) -> None:
    """On what a bundle's figures stand."""
    on = document["graded_on"]
    print(
        f"mAP50-95 on {on['images']} images of {on['data']} ({on['part']}); torch's own, before the"
        f" export: {document['map50_95']:.4f}"
    )
    keys = {}
    for one in document["exported"]:
        if (latency := one["latency"]) is not None:
            told = latency["told"]
            if latency["ms"] is not None:
                told = "{kind}, 90 % interval {low_ms:.1f} to {high_ms:.1f} ms".format(**latency)
            count = latency["threads"]
            where = "{device}, {runtime} {precision}, {threads} thread".format(**latency)
            keys[f"{where}{'s' if count > 1 else ''}"] = told
    for key, told in keys.items():
        print(f"ms on {key}: {told}")


if __name__ == "__main__":
    command_line(Arguments, run)
