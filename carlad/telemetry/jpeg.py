"""Colour images as JPEG, by libjpeg-turbo (package `simplejpeg`, loaded when it is first used)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from carlad.telemetry.bundle import Array

QUALITY = 90  # of 100: no blocks are seen at twice the size, a tenth of the bytes


def is_image(array: Array) -> bool:
    """Whether it is a colour image: uint8 (H, W, 3) with at least one pixel."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and 0 not in array.shape


def encode(image: Array, quality: int = QUALITY) -> bytes:
    """Of uint8 (H, W, 3), RGB."""
    import simplejpeg

    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")
    return jpeg


def decode(jpeg: bytes | memoryview, shape: tuple[int, ...] | None = None) -> Array:
    """uint8 (H, W, 3), RGB. Raises ValueError for what is no JPEG, or not of that shape."""
    import simplejpeg

    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if shape is not None and shape != (height, width, 3):
        raise ValueError(f"cannot read an image of {width}x{height} as one of the shape {shape}")
    image: Array = simplejpeg.decode_jpeg(jpeg, "RGB")
    return image
