"""What light and camera do to a finished picture: shade, tone, blur, noise, JPEG's squares."""

from __future__ import annotations

import cv2
import numpy as np

from nas.data.drawings.textures import CLOUDS, GRAINS, PATTERNS, Pixels, Rng, piece


def photograph(image: Pixels, rng: Rng) -> Pixels:
    """The picture as a camera has it; its objects stay where they are."""
    size = image.shape[0]
    corners = rng.uniform(0.55, 1.25, (3, 3)) if rng.random() < 0.6 else np.ones((3, 3))
    tint = rng.uniform(0.85, 1.15, 3) if rng.random() < 0.4 else np.ones(3)
    light = (corners[..., None] * tint).astype(np.float32)
    shade = cv2.resize(light, (size, size), interpolation=cv2.INTER_LINEAR)
    image = np.asarray(cv2.multiply(image, shade, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < 0.4:
        image = _blurred(image, rng)
    image = _toned(image, rng)
    if rng.random() < 0.5:
        first = CLOUDS + PATTERNS
        grain = cv2.merge([piece(rng, first, first + GRAINS, size, size, 1.0) for _ in range(3)])
        share = float(rng.uniform(0.02, 0.16))
        image = np.asarray(cv2.addWeighted(image, 1.0, grain, share, -127.5 * share), np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1), np.uint8)
    return image


def _blurred(image: Pixels, rng: Rng) -> Pixels:
    """Out of focus, moved, or taken with fewer pixels."""
    size = image.shape[0]
    kind = rng.random()
    if kind < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6))), np.uint8)
    if kind < 0.75:
        small = int(size * rng.uniform(0.45, 0.9))
        shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(shrunk, (size, size)), np.uint8)
    kernel = np.zeros((7, 7), np.float32)
    angle, reach = rng.uniform(0, np.pi), rng.uniform(1, 3.4)
    x, y = (round(float(reach * one)) for one in (np.cos(angle), np.sin(angle)))
    cv2.line(kernel, (3 - x, 3 - y), (3 + x, 3 + y), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _toned(image: Pixels, rng: Rng) -> Pixels:
    """Gamma and contrast; a few pictures are grey, or in a thermal camera's false colours."""
    gamma, contrast = np.exp(rng.normal(0, 0.25)), rng.uniform(0.7, 1.25)
    levels = 255 * (np.arange(256) / 255) ** gamma
    table = np.clip((levels - 127) * contrast + 127 + rng.normal(0, 10), 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, table), np.uint8)
    kind = rng.random()
    if kind < 0.92:
        return image
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if kind < 0.98:
        return np.asarray(cv2.merge([grey] * 3), np.uint8)
    false = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(false, cv2.COLOR_BGR2RGB), np.uint8)
