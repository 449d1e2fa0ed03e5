"""Detectors under each form of head without anchors leave torch unchanged, boxes and maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.deploy.onnx import to_onnx
from nas.deploy.parts import ROUNDING
from nas.deploy.weights import Precision, random_detector
from tests.deploy.detectors import SIZE
from tests.deploy.test_files import compared, tamed
from tests.light_heads import LIGHT_FORMS, model_of


@pytest.mark.parametrize("form", LIGHT_FORMS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_boxes_and_maps_of_every_runtime_equal_torchs(
    form: str, precision: Precision, tmp_path: Path
) -> None:
    detector = tamed(random_detector(model_of(form), SIZE))
    found = compared(detector, precision, tmp_path)
    # ONNX Runtime's boxes, OpenCV's, ONNX Runtime's maps, ncnn's.
    assert len(found) == 4
    if precision == "fp32":
        assert all(one.max_error <= ROUNDING * max(one.largest, 1) for one in found)
    assert found[0].max_share_error is not None


def test_a_plain_distance_is_a_softplus_and_no_distribution() -> None:
    import onnx

    kinds = []
    for form in ("LightDetect, [nc, None, 1, 1]", "LightDetect, [nc]"):
        content = to_onnx(random_detector(model_of(form), SIZE), SIZE)
        model = onnx.ModelProto.FromString(content)
        kinds.append({node.op_type for node in model.graph.node})
        (output,) = model.graph.output
        shape = [one.dim_value for one in output.type.tensor_type.shape.dim]
        assert shape == [1, 4 + 3, 144 + 36 + 9]
    assert "Softplus" in kinds[0] - kinds[1]
    assert "Softmax" in kinds[1] - kinds[0]
