"""Whatever a detector lies in, it gives torch's boxes; what is none is told."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from nas import NasError
from nas.grading import onnx_file
from nas.grading.arithmetic import saturates
from nas.grading.detector_file import DetectorFileError
from nas.grading.opening import open_detectors
from nas.grading.outputs import HeadFacts, boxes_of_outputs, layout_of_shapes
from nas.training.on_disk.checkpoint import CheckpointError
from tests.data.pictures import squares
from tests.grading.files import HEADS, left, with_head

NAMES = ("red", "green", "it's blue")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with best.pt, and `out`, its export."""
    folder = tmp_path_factory.mktemp("home")
    left(folder, with_head("LightDetect, [nc]"), NAMES, precision=("fp32", "fp16"))
    return folder


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be spoilt."""
    shutil.copytree(home / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("outputs", ["boxes", "maps"])
def test_every_file_gives_the_checkpoints_boxes(head: str, outputs: str, tmp_path: Path) -> None:
    folder = left(tmp_path, with_head(head), NAMES, outputs=outputs)
    images = squares(3, 96).images
    (checkpoint,) = open_detectors(tmp_path / "best.pt")
    right = checkpoint.predict(images)
    files = open_detectors(folder)
    assert [one.kind for one in files] == ["onnx", "ncnn"]
    assert not checkpoint.has_fixed_size
    for one in files:
        assert (one.names, one.image_size, one.precision) == (NAMES, 96, "fp32")
        assert one.strides == checkpoint.strides == (8, 16, 32)
        assert np.allclose(one.anchors, checkpoint.anchors)
        assert one.has_fixed_size
        boxes = one.predict(images)
        assert boxes.shape == right.shape
        scale = np.maximum(np.abs(right), 1)
        assert (np.abs(boxes - right) / scale).max() < 1e-3


def test_precisions_and_runtimes_are_told(home: Path) -> None:
    files = open_detectors(home / "out")
    assert [(one.kind, one.precision) for one in files] == [
        ("onnx", "fp32"), ("ncnn", "fp32"), ("onnx", "fp16"), ("ncnn", "fp16"),
    ]  # fmt: skip
    assert "ONNX Runtime" in files[0].arithmetic
    assert "fp16 where this processor has it" in files[3].arithmetic
    images = squares(1, 96).images
    boxes = [one.predict(images) for one in files]
    # Half precision is another file's numbers, and not far from them.
    assert 0 < np.abs(boxes[2][..., 5:] - boxes[0][..., 5:]).max() < 0.05
    assert 0 < np.abs(boxes[3][..., 5:] - boxes[1][..., 5:]).max() < 0.05


def test_an_onnx_file_says_all_of_itself(copied: Path) -> None:
    path = copied / "one-fp32.onnx"
    (before,) = open_detectors(path)
    (copied / "report.json").unlink()
    (alone,) = open_detectors(path)
    assert (alone.names, alone.strides, alone.anchors) == (NAMES, before.strides, ())
    (half,) = open_detectors(copied / "one-fp16.onnx")
    assert half.precision == "fp16"


def test_boxes_of_both_layouts_are_told_apart() -> None:
    facts = HeadFacts(num_classes=2)
    assert layout_of_shapes([(1, 30, 7)], facts, "x") == "yolov5"
    assert layout_of_shapes([(1, 6, 30)], facts, "x") == "yolov8"
    for shapes in ([(1, 30, 6)], [(1, 7, 30)], [(1, 30)], [], [(1, 30, 7), (1, 30, 7)]):
        with pytest.raises(DetectorFileError, match=r"for 2 classes the output is boxes"):
            layout_of_shapes(shapes, facts, "x")
    rows = np.arange(12, dtype=np.float32).reshape(1, 6, 2)
    boxes = boxes_of_outputs([rows], "yolov8", facts)
    assert boxes.tolist() == [[[0, 2, 4, 6, 1, 8, 10], [1, 3, 5, 7, 1, 9, 11]]]


def test_maps_of_another_head_are_refused() -> None:
    facts = HeadFacts(num_classes=2, strides=(8, 16), anchors=((1, 1, 2, 2), (3, 3, 4, 4)))
    right = [(1, 14, 8, 8), (1, 14, 4, 4)]
    assert layout_of_shapes(right, facts, "x") == "maps"
    with pytest.raises(DetectorFileError, match="each of the head's 2 strides"):
        layout_of_shapes(right[:1], facts, "x")
    with pytest.raises(DetectorFileError, match="14 channels"):
        layout_of_shapes([(1, 12, 8, 8), (1, 12, 4, 4)], facts, "x")
    free = HeadFacts(num_classes=2, strides=(8,))
    assert layout_of_shapes([(1, 6, 8, 8)], free, "x") == "maps"
    with pytest.raises(DetectorFileError, match="4 for each bin and 2 channels"):
        layout_of_shapes([(1, 7, 8, 8)], free, "x")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no.onnx", "the file can be read; got No such file"),
        ("no.param", "a .param exists; got no such file"),
        ("no", "got no such file"),
        ("one-fp32.ncnn.bin", r"Give .*one-fp32\.ncnn\.param"),
        ("report.json", "a detector is a best.pt"),
        (".", "a folder without report.json"),
    ],
)
def test_what_is_no_detector_is_told(copied: Path, name: str, told: str) -> None:
    path = copied / name
    if name == ".":
        (copied / "report.json").unlink()
    with pytest.raises(DetectorFileError, match=told):
        open_detectors(path)


def test_a_trainings_folder_says_which_file(home: Path) -> None:
    with pytest.raises(DetectorFileError, match=r"without report\.json\. Give .*best\.pt"):
        open_detectors(home)


def test_a_model_without_weights_is_told(home: Path) -> None:
    with pytest.raises(DetectorFileError, match=r"a model without weights\. Give the best\.pt"):
        open_detectors(home / "one.yaml")


class Evil:
    """A pickle that would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_malicious_checkpoint_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Evil(tmp_path / "touched")))
    torch.save({"format": 1, "model": Evil(tmp_path / "touched")}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match="tensors, numbers and text alone"):
            open_detectors(tmp_path / name)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [b"", b"hello" * 100, None])
def test_a_corrupt_onnx_file(copied: Path, content: bytes | None) -> None:
    path = copied / "other.onnx"
    whole = (copied / "one-fp32.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(DetectorFileError, match=r"other\.onnx: "):
        open_detectors(path)


def test_an_op_that_onnx_runtime_lacks_is_named_with_its_place(copied: Path) -> None:
    path = copied / "other.onnx"
    model = onnx.load(copied / "one-fp32.onnx")
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    output = model.graph.node[place].output[0]
    for kind, domain in (("Frobnicate", ""), ("Frobnicate", "far.away"), ("DeformConv", "")):
        model = onnx.load(copied / "one-fp32.onnx")
        node = model.graph.node[place]
        node.op_type, node.domain = kind, domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        onnx.save(model, path)
        with pytest.raises(DetectorFileError, match=rf"got {kind} \(node that gives {output}"):
            open_detectors(path)


def with_metadata(path: Path, **values: str | None) -> Path:
    """A copy of an ONNX file with other metadata."""
    model = onnx.load(path)
    held = {one.key: one.value for one in model.metadata_props} | values
    del model.metadata_props[:]
    helper.set_model_props(model, {key: value for key, value in held.items() if value is not None})
    onnx.save(model, path.with_name("other.onnx"))
    return path.with_name("other.onnx")


def test_metadata_that_lack_or_lie(copied: Path, tmp_path: Path) -> None:
    path = copied / "one-fp32.onnx"
    evil = f"__import__('pathlib').Path({str(tmp_path / 'touched')!r}).touch()"
    for names in (None, evil, "{1: 'a'}", "7", "[" * 5000):
        with pytest.raises(DetectorFileError, match="says its class names"):
            open_detectors(with_metadata(path, names=names))
    assert not (tmp_path / "touched").exists()
    with pytest.raises(DetectorFileError, match=r"for 2 classes the output is boxes.*got \(1, 7,"):
        open_detectors(with_metadata(path, names="{0: 'a', 1: 'b'}"))
    # YOLOv5 and Ultralytics say no more than this.
    (other,) = open_detectors(with_metadata(path, names="['a', 'b', 'c']", strides=None))
    assert (other.names, other.strides) == (("a", "b", "c"), ())


def test_an_input_of_another_form_is_refused(tmp_path: Path) -> None:
    for shape in ([1, 3, 64, None], [1, 1, 64, 64], [2, 3, 64, 64], [1, 3, None, None], [1, 3]):
        value = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
        out = helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)
        node = helper.make_node("Identity", ["images"], ["output0"])
        model = helper.make_model(
            helper.make_graph([node], "g", [value], [out]),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        helper.set_model_props(model, {"names": "['a']"})
        onnx.save(model, tmp_path / "x.onnx")
        with pytest.raises(DetectorFileError, match="the input is an image of a fixed size"):
            open_detectors(tmp_path / "x.onnx")


@pytest.mark.parametrize("change", ["shorter", "longer", "flipped"])
def test_weights_that_are_not_the_reports(copied: Path, change: str) -> None:
    path = copied / "one-fp32.ncnn.bin"
    whole = path.read_bytes()
    flipped = whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]
    path.write_bytes(
        {"shorter": whole[:-4], "longer": whole + b"0" * 4, "flipped": flipped}[change]
    )
    with pytest.raises(DetectorFileError, match=r"one-fp32\.ncnn\.bin: the file is the one that"):
        open_detectors(copied / "one-fp32.ncnn.param")


def test_an_ncnn_pair_that_lacks_a_part(copied: Path) -> None:
    param = copied / "one-fp32.ncnn.param"
    shutil.copy(param, copied / "other.ncnn.param")
    shutil.copy(param.with_suffix(".bin"), copied / "other.ncnn.bin")
    with pytest.raises(DetectorFileError, match=r"doesn't name other\.ncnn\.param"):
        open_detectors(copied / "other.ncnn.param")
    text = (copied / "report.json").read_text()
    (copied / "report.json").unlink()
    with pytest.raises(DetectorFileError, match=r"tells its classes.*got no such file\. Copy it"):
        open_detectors(param)
    (copied / "report.json").write_text(text)
    param.with_suffix(".bin").unlink()
    with pytest.raises(DetectorFileError, match=r"got no one-fp32\.ncnn\.bin"):
        open_detectors(param)


def test_a_spoilt_param(copied: Path) -> None:
    param = copied / "one-fp32.ncnn.param"
    text = param.read_text()
    lines = text.splitlines()
    kind, name = lines[4].split()[:2]
    for spoilt, told in (
        ("hello\n", r"whose first line is 7767517; got hello"),
        ("", "got nothing"),
        ("\n".join(lines[:9]), r"is whole; got 7 of \d+ layers"),
        (text.replace(lines[4], lines[4].replace(kind, "Frob", 1)), rf"Frob \(layer {name}\)"),
        (text.replace(lines[4], f"{kind} {name} 1 9 a b"), "a layer names its blobs"),
        (text.replace(lines[4], f"{kind} {name}"), "a layer says its inputs and outputs"),
    ):
        param.write_text(spoilt)
        with pytest.raises(DetectorFileError, match=told):
            open_detectors(param)


def test_a_report_of_another_form(copied: Path) -> None:
    document = json.loads((copied / "report.json").read_text())
    for spoilt, told in (
        ({}, "image_size: Field required"),
        ({**document, "exported": []}, "got none"),
        (
            {**document, "exported": [{**document["exported"][0], "files": ["../x.onnx"]}]},
            r"files that lie beside it; got \.\./x\.onnx",
        ),
    ):
        (copied / "report.json").write_text(json.dumps(spoilt))
        with pytest.raises(NasError, match=told):
            open_detectors(copied)


def test_saturation_is_told_by_the_processors_flags(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags\t: fpu avx2 avx_vnni_int8\n")
    assert saturates(info, "x86_64")
    assert not saturates(info, "aarch64")
    for name in ("avx512_vnni", "avx_vnni"):
        info.write_text(f"flags\t\t: fpu {name} avx2\n")
        assert not saturates(info, "x86_64")
    assert saturates(tmp_path / "absent", "AMD64")


class Pictures:
    """What a static quantisation is calibrated on."""

    def __init__(self) -> None:
        images = squares(8, 96).images.transpose(0, 3, 1, 2).astype(np.float32) / 255
        self._left = iter(images[:, None])

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._left, None)
        return None if image is None else {"images": image}


def test_int8_is_seen_in_the_graph_and_its_arithmetic_told(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.quantization import QuantType, quantize_static

    whole, path = copied / "one-fp32.onnx", copied / "other.onnx"
    quantize_static(
        whole, path, Pictures(), per_channel=True, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, op_types_to_quantize=["Conv"],
    )  # fmt: skip
    images = squares(2, 96).images
    (fp32,) = open_detectors(whole)
    found = []
    for does_saturate, told in ((False, "int8, exact sums"), (True, "session.x64quantprecision")):
        monkeypatch.setattr(onnx_file, "saturates", lambda is_so=does_saturate: is_so)
        (one,) = open_detectors(path)
        assert one.precision == "int8"
        assert told in one.arithmetic
        found.append(one.predict(images))
    # Sums are exact either way on a processor that has VNNI, and on one that needs the option.
    if not saturates():
        assert np.abs(found[0] - found[1]).max() < 1e-3 * np.abs(found[0]).max()
    off = np.abs(found[1][..., 5:] - fp32.predict(images)[..., 5:]).max()
    assert 0 < off < 0.2
