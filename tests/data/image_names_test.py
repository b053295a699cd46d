"""The one list of image endings, and the lists that cannot import it."""

import pytest

from kdwsd.data import image_names
from tests.export_kit import kit


@pytest.mark.parametrize("name", [
    "a.jpg", "a.JPG", "a.Jpeg", "a.jpe", "a.jfif", "a.PNG", "a.bmp", "a.gif",
    "a.webp", "a.tif", "a.TIFF", "a.avif", "a.heic", "b.c/d.e.jpg", "é.png"])
def test_images(name):
  assert image_names.is_image(name)


@pytest.mark.parametrize("name", [
    "", "a", "jpg", ".jpg", "a.jpg.txt", "a.jpg~", "a.mp4", "a.xml", "a.jpg/b"])
def test_no_images(name):
  assert not image_names.is_image(name)


def test_the_client_takes_no_other_endings():
  # Which stands alone, and sends what servers decode: JPEG and PNG.
  endings = kit.client()._EXTENSIONS  # pylint: disable=protected-access
  assert {".jpg", ".jpeg", ".png"} <= set(endings)
  assert set(endings) <= set(image_names.EXTENSIONS)
