"""How far boxes overlap: IoU and complete IoU, in torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-7


def iou(one: Tensor, two: Tensor) -> Tensor:
    """Intersection over union (...) of boxes (..., 4) as left, top, right, bottom.

    A side at a time: of broadcast boxes torch computes whole planes several times as fast as pairs.
    """
    (left, top, right, bottom), (left_2, top_2, right_2, bottom_2) = one.unbind(-1), two.unbind(-1)
    width = (torch.minimum(right, right_2) - torch.maximum(left, left_2)).clamp_(min=0)
    height = (torch.minimum(bottom, bottom_2) - torch.maximum(top, top_2)).clamp_(min=0)
    intersection = width * height
    area, area_2 = (right - left) * (bottom - top), (right_2 - left_2) * (bottom_2 - top_2)
    return intersection / (area + area_2 - intersection + EPSILON)


def ciou(one: Tensor, two: Tensor) -> Tensor:
    """Complete IoU (P,) of boxes (P, 4) as centre, width, height (arXiv 1911.08287, eq. 10)."""
    size_one, size_two = one[:, 2:], two[:, 2:]
    low_one, high_one = one[:, :2] - size_one / 2, one[:, :2] + size_one / 2
    low_two, high_two = two[:, :2] - size_two / 2, two[:, :2] + size_two / 2
    common = (torch.minimum(high_one, high_two) - torch.maximum(low_one, low_two)).clamp(min=0)
    hull = torch.maximum(high_one, high_two) - torch.minimum(low_one, low_two)
    intersection = common[:, 0] * common[:, 1]
    union = size_one.prod(dim=1) + size_two.prod(dim=1) - intersection + EPSILON
    overlap = intersection / union
    distance = (one[:, :2] - two[:, :2]).square().sum(dim=1)
    diagonal = hull.square().sum(dim=1) + EPSILON
    angle_one = torch.atan(size_one[:, 0] / (size_one[:, 1] + EPSILON))
    angle_two = torch.atan(size_two[:, 0] / (size_two[:, 1] + EPSILON))
    aspect = (4 / math.pi**2) * (angle_two - angle_one).square()
    with torch.no_grad():
        weight = aspect / (aspect - overlap + (1 + EPSILON))
    return overlap - distance / diagonal - weight * aspect
