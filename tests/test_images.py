"""Reading, squaring and the way back."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prdlib.images import ImageError, decode_png, encode_png, fit, read_grey, resize


def picture(kind: str) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (48, 64))
    buffer = io.BytesIO()
    if kind == "png16":
        Image.fromarray((values * 257).astype(np.uint16)).save(buffer, "png")
    else:
        Image.fromarray(values.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "png16", "jpeg"])
def test_grey_uint8_whatever_the_file(tmp_path, kind):
    (tmp_path / "a").write_bytes(picture(kind))
    image = read_grey(tmp_path / "a")
    assert (image.dtype, image.shape) == (np.uint8, (48, 64))
    assert image.min() < 20 < 235 < image.max()


def test_colour_becomes_grey(tmp_path):
    Image.new("RGB", (9, 7), (50, 50, 50)).save(tmp_path / "a.png")
    assert np.array_equal(read_grey(tmp_path / "a.png"), np.full((7, 9), 50))


@pytest.mark.parametrize("kind", ["png", "png16", "jpeg"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path, kind, share):
    data = picture(kind)
    (tmp_path / "cut.png").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"cut\.png"):
        read_grey(tmp_path / "cut.png")


def test_missing_and_foreign_files_are_named(tmp_path):
    (tmp_path / "text.png").write_text("version https://example.invalid pointer")
    for name in ("none.png", "text.png"):
        with pytest.raises(ImageError, match=name):
            read_grey(tmp_path / name)


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64))
def test_any_shape_becomes_the_square_and_maps_come_back(height, width, size):
    square = resize(np.full((height, width), 77, np.uint8), size)
    assert (square.dtype, square.shape) == (np.uint8, (size, size))
    assert (square == 77).all()
    assert fit(height, width, size).to_image(np.ones((size, size), np.float32)).shape == (height, width)


def test_resize_keeps_the_centre_and_antialiases():
    image = np.zeros((100, 300), np.uint8)
    image[:, 100:200] = 200
    assert (resize(image, 20) > 150).all()
    checks = (np.indices((200, 200)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert abs(resize(checks, 20).astype(int) - 127).max() < 20


@pytest.mark.parametrize("shape", [(200, 120), (120, 200), (150, 150)])
def test_a_spot_returns_to_where_it_was(shape):
    row, column = shape[0] // 2 + 20, shape[1] // 2 - 20
    image = np.zeros(shape, np.uint8)
    image[row - 4 : row + 5, column - 4 : column + 5] = 255
    back = fit(*shape, 48).to_image(resize(image, 48).astype(np.float32))
    found = np.unravel_index(back.argmax(), shape)
    assert max(abs(found[0] - row), abs(found[1] - column)) <= 6


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_png_bytes_lose_nothing(size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (size, size)).astype(np.uint8)
    assert np.array_equal(decode_png(encode_png(image)), image)


def test_boxes_follow_the_crop():
    geometry = fit(100, 200, 50)  # scaled to 50 x 100, cropped to the middle columns 25 to 75
    assert geometry.box_in_square([0.25, 0.0, 0.75, 1.0]) == [0.0, 0.0, 1.0, 1.0]
    assert geometry.box_in_square([0.5, 0.2, 0.9, 0.4]) == [0.5, 0.2, 1.0, 0.4]
    assert geometry.box_in_square([0.0, 0.0, 0.2, 1.0]) is None
    assert fit(64, 64, 32).box_in_square([0.1, 0.2, 0.3, 0.4]) == [0.1, 0.2, 0.3, 0.4]


def test_a_decompression_bomb_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(picture("png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match=r"a\.png is too large"):
        read_grey(tmp_path / "a.png")
