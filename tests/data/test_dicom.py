"""DICOM files as grey arrays; the tests of pixels need pydicom."""

import numpy as np
import pytest
from published_dicom import write_dicom

from prdlib.data import DataError, dicom
from prdlib.data.dicom import read_dicom
from prdlib.images import ImageError

RAMP = np.arange(48).reshape(6, 8)


def test_without_pydicom_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pydicom, which is not installed: pip install 'prdlib\[dicom\]'"):
        read_dicom(tmp_path / "a.dcm")


class TestPixels:
    @pytest.fixture(autouse=True)
    def _pydicom(self):
        pytest.importorskip("pydicom")

    def test_eight_bits_keep_their_values(self, tmp_path):
        assert np.array_equal(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP.astype(np.uint8))), RAMP)

    def test_monochrome1_is_inverted(self, tmp_path):
        path = write_dicom(tmp_path / "a.dcm", RAMP.astype(np.uint8), PhotometricInterpretation="MONOCHROME1")
        assert np.array_equal(read_dicom(path), 255 - RAMP)

    @pytest.mark.parametrize("factor", [1, 50, 1000])
    def test_sixteen_bits_are_stretched(self, tmp_path, factor):
        grey = read_dicom(write_dicom(tmp_path / "a.dcm", (RAMP * factor + 7).astype(np.uint16)))
        assert grey.dtype == np.uint8
        assert np.array_equal(grey, np.round(RAMP / 47 * 255))

    def test_the_window_of_the_file_is_applied(self, tmp_path):
        pixels = (RAMP * 100).astype(np.uint16)
        grey = read_dicom(write_dicom(tmp_path / "a.dcm", pixels, WindowCenter=2000, WindowWidth=1000))
        assert (grey[pixels <= 1400] == 0).all()
        assert (grey[pixels >= 2600] == 255).all()
        assert 100 < grey[pixels == 2000][0] < 155

    def test_the_modality_table_comes_before_the_window(self, tmp_path):
        pixels = (RAMP * 100).astype(np.uint16)
        facts = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 3000, "WindowWidth": 2000}
        grey = read_dicom(write_dicom(tmp_path / "a.dcm", pixels, **facts))
        assert 100 < grey[pixels == 2000][0] < 155

    def test_a_constant_image_is_black(self, tmp_path):
        assert (read_dicom(write_dicom(tmp_path / "a.dcm", np.full((4, 4), 900, np.uint16))) == 0).all()

    def test_files_that_are_no_image_are_one_sentence(self, tmp_path):
        with pytest.raises(ImageError, match=r"none.dcm is missing"):
            read_dicom(tmp_path / "none.dcm")
        (tmp_path / "text.dcm").write_text("no image")
        whole = write_dicom(tmp_path / "cut.dcm", np.zeros((40, 40), np.uint16))
        whole.write_bytes(whole.read_bytes()[:-1000])
        for name in ("text.dcm", "cut.dcm"):
            with pytest.raises(ImageError, match=f"{name} cannot be read as an image: it is truncated or not a DICOM"):
                read_dicom(tmp_path / name)
        colour = write_dicom(tmp_path / "rgb.dcm", np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation="RGB")
        with pytest.raises(ImageError, match=r"rgb.dcm is no grey image of one frame \(RGB, \[4, 4, 3\]\)"):
            read_dicom(colour)

    def test_a_compression_nobody_can_decode_is_one_sentence(self, tmp_path):
        path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8), np.uint8), syntax="1.2.840.10008.1.2.4.90")
        with pytest.raises(ImageError, match=r"a.dcm cannot be (decoded|read)"):
            read_dicom(path)
