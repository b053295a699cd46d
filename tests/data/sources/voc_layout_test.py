"""Tests of VOC's layouts and of the lines of its image sets."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import voc
from tests.data import fake_sets

CAT, DOG = ("cat", 1, 1, 16, 12, 0), ("dog", 9, 7, 32, 24, 0)


class LayoutTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()

  def _write(self, name, *objects, content=None):
    """Writes an annotation of some objects, or a file of any content."""
    if content is None:
      content = fake_sets.annotation(objects) if name.endswith(".xml") else "x"
    return fake_sets.write(os.path.join(self.root, name), content)

  def _read(self, root="", on_error="stop", **arguments):
    self.problems = sources.Problems(on_error)
    return voc.read(os.path.join(self.root, root), problems=self.problems,
                    **arguments)

  def _images(self, source):
    return {item.image_id: os.path.relpath(item.image_path, self.root)
            for item in source.items}

  def _write_names(self, *names, folder="VOC2012"):
    """Writes images, and annotations: of a dog if there is a 2 in the name."""
    for name in names:
      self._write(f"{folder}/JPEGImages/{name}")
      self._write(f"{folder}/Annotations/{os.path.splitext(name)[0]}.xml",
                  DOG if "2" in os.path.basename(name) else CAT)

  def _write_set(self, content, folder="VOC2012", name="train"):
    self._write(f"{folder}/ImageSets/Main/{name}.txt", content=content)

  @parameterized.parameters(
      "holiday 1\nholiday 2\nboat\n",
      '"holiday 1"\n\'holiday 2\'\nboat\n',
      '"holiday 1" 1\n"holiday 2"\t-1\nboat 0\n',
      "holiday 1  1\nholiday 2 -1\n boat -1 \n",
      "holiday 1.jpg\nJPEGImages/holiday 2.jpg\n./boat.png\n",
      "C:\\data\\JPEGImages\\holiday 1.jpg\r\nAnnotations\\holiday 2.xml\r\n"
      "boat\r\n")
  def test_names_with_spaces(self, content):
    self._write_names("holiday 1.jpg", "holiday 2.jpg", "boat.png")
    self._write_set(content)
    source = self._read(image_set="train")
    self.assertEqual(self._images(source), {
        "holiday 1": "VOC2012/JPEGImages/holiday 1.jpg",
        "holiday 2": "VOC2012/JPEGImages/holiday 2.jpg",
        "boat": "VOC2012/JPEGImages/boat.png"})
    self.assertEqual([item.label_ids for item in source.items],
                     [(0,), (1,), (0,)])

  def test_a_number_is_a_presence_only_where_the_rest_is_an_image(self):
    self._write_names("photo.jpg", "photo 1.jpg", "photo 2.jpg")
    self._write_set("photo 1\nphoto 0\nphoto 2 1\n")
    self.assertEqual(list(self._images(self._read(image_set="train"))),
                     ["photo 1", "photo", "photo 2"])
    self._write_set("photo 3\nphoto 1 1 1\n")
    self.assertEmpty(self._read(image_set="train", on_error="skip").items)
    self.assertLen(self.problems.messages, 2)

  def test_class_lists_of_names_with_spaces(self):
    self._write_names("photo 1.jpg", "photo 2.jpg")
    self._write_set("photo 1\nphoto 2\n")
    self._write_set('"photo 1" 1\n"photo 2" -1\n', name="cat_train")
    self._write_set("photo 1 -1\nphoto 2  1\n", name="dog_train")
    self._write_set("photo 1 -1\nphoto 2 -1\n", name="yak_train")
    # A set of its own: whole lines are images.
    self._write_set("photo 1\n", name="few_train")
    self.assertEqual(self._read(image_set="train").classes,
                     ("cat", "dog", "yak"))

  @parameterized.parameters(
      "VOC2012/annotations", "voc2012/Annotations", "mine/annotations",
      "mine/Annotations", "annotations", "Annotations")
  def test_image_sets_hold_whatever_the_case_and_name_of_their_folder(
      self, folder):
    top = folder.rpartition("/")[0]
    for name in ("1", "2"):
      self._write(os.path.join(top, "jpegimages", f"{name}.jpg"))
      self._write(f"{folder}/{name}.xml", DOG if name == "2" else CAT)
    self._write(os.path.join(top, "imagesets", "main", "train.txt"),
                content="2\n")
    source = self._read(image_set="train")
    self.assertEqual(list(self._images(source)), ["2"])
    self.assertEqual(source.items[0].label_ids, (1,))
    with self.assertRaisesRegex(errors.InputError, "there are: train"):
      self._read(image_set="test")

  @parameterized.parameters(
      "a.bmp", "a.webp", "a.tif", "a.TIFF", "a.Jpg", "a.JPEG", "a.jfif",
      "a.gif", "a.PnG")
  def test_any_ending_of_images(self, name):
    self._write_names(name)
    self._write("VOC2012/JPEGImages/a.txt")
    self._write_set("a\n")
    source = self._read(image_set="train")
    self.assertEqual(self._images(source), {"a": f"VOC2012/JPEGImages/{name}"})
    self.assertEmpty(source.notices)

  @parameterized.parameters(
      ("a.jpg", "", "a.PNG", "a.png", "a.JPG"),
      ("a.JPG", "", "a.PNG", "a.png"),
      ("a.png", "<filename>a.png</filename>", "a.jpg", "a.PNG"),
      ("a.PNG", "<filename>C:\\x\\a.PNG</filename>", "a.jpg", "a.png"))
  def test_several_files_of_one_name(self, chosen, text, *others):
    self._write_names(*others, chosen)
    self._write("VOC2012/Annotations/a.xml", content=fake_sets.annotation(
        [CAT]).replace("<size>", text + "<size>"))
    self._write_set("a\n")
    source = self._read(image_set="train")
    self.assertEqual(list(self._images(source).values()),
                     [f"VOC2012/JPEGImages/{chosen}"])
    self.assertEqual(source.notices, (
        "1 image has several files of its name; taken for a: "
        f"{chosen}.",))

  def test_folders_within_folders(self):
    self._write_names("1.jpg", "cam1/1.jpg", "cam2/2.jpg", "cam2/x/3.png")
    self._write_set("1\ncam1/1\ncam2\\2.jpg\ncam2/x/3 1\n", name="default")
    source = self._read(image_set="default")
    self.assertEqual(source.classes, ("cat", "dog"))
    self.assertEqual(self._images(source), {
        name: f"VOC2012/JPEGImages/{name}.{ending}" for name, ending in (
            ("1", "jpg"), ("cam1/1", "jpg"), ("cam2/2", "jpg"),
            ("cam2/x/3", "png"))})
    self.assertEqual([item.label_ids for item in source.items],
                     [(0,), (0,), (1,), (0,)])

  def test_a_flat_folder(self):
    for name in ("b.PNG", "a.jpg", "unlabelled.jpg", "sub/c.webp"):
      self._write(f"train/{name}")
    self._write("train/a.xml", CAT)
    self._write("train/b.xml", CAT, DOG)
    self._write("train/sub/c.xml", DOG)
    self._write("train/gone.xml", ("yak", 1, 1, 2, 2, 0))
    self._write("train/._a.xml", content="of a Mac")
    self._write("train/.hidden/a.xml", CAT)
    self._write("train/__MACOSX/a.xml", content="of a Mac")
    source = self._read("train", image_set="train")
    self.assertEqual(self._images(source), {
        "a": "train/a.jpg", "b": "train/b.PNG", "sub/c": "train/sub/c.webp"})
    self.assertEqual([item.label_ids for item in source.items],
                     [(0,), (0, 1), (1,)])
    self.assertLen(source.notices, 3)
    self.assertRegex(source.notices[0], "train: no ImageSets.*: 3")
    self.assertEqual(source.notices[1], "1 image without an XML file is not "
                     "labelled and left out, first unlabelled.jpg.")
    self.assertEqual(source.notices[2], "1 XML file without an image is left "
                     "out, first gone.xml.")
    self.assertEqual(source.description, {
        "format": "voc", "name": "train", "layout": "no image sets"})
    self.assertEqual(source.items[0].where,
                     os.path.join(self.root, "train", "a.xml"))

  def test_folders_of_parts_are_not_mixed(self):
    for name in ("train/1", "train/3", "valid/2"):
      self._write(f"{name}.jpg")
      self._write(f"{name}.xml", CAT)
    self.assertEqual(list(self._images(self._read(image_set="valid"))), ["2"])
    self.assertEqual(self._read(image_set="train").description["name"],
                     "train")
    with self.assertRaisesRegex(
        errors.InputError, "--image_set.* train, valid. Received: val"):
      self._read(image_set="val")
    # The same below a folder of annotations and one of images.
    for name in ("train/1", "val/1"):
      self._write(f"other/images/{name}.jpg")
      self._write(f"other/annotations/{name}.xml",
                  CAT if name[0] == "t" else DOG)
    source = self._read("other", image_set="val")
    self.assertEqual(self._images(source), {"1": "other/images/val/1.jpg"})
    self.assertEqual(source.classes, ("dog",))
    with self.assertRaisesRegex(errors.InputError, "train, val. Received: all"):
      self._read("other", image_set="all")

  @parameterized.parameters(
      ("annotations", "images"), ("Annotations", "JPEGImages"),
      ("xmls", "Images"), ("labels", "."), ("annotations/xmls", "images"))
  def test_folders_of_annotations_and_images(self, annotations, images):
    for name in ("1", "2"):
      self._write(f"{annotations}/{name}.xml", CAT)
      self._write(f"{images}/{name}.png")
    source = self._read(image_set="train")
    self.assertEqual(
        [os.path.normpath(name) for name in self._images(source).values()],
        [os.path.normpath(f"{images}/{name}.png") for name in ("1", "2")])
    self.assertRegex(source.notices[0], "no ImageSets.*: 2")

  def test_empty_image_sets_are_none(self):
    self._write_names("1.jpg")
    os.makedirs(os.path.join(self.root, "VOC2012", "ImageSets", "Main"))
    self.assertLen(self._read().items, 1)
    self._write("VOC2012/ImageSets/test.txt", content="1\n")
    self.assertLen(self._read(image_set="test").items, 1)
    with self.assertRaisesRegex(errors.InputError, "there are: test"):
      self._read(image_set="train")

  def test_images_elsewhere(self):
    self._write("tree/Annotations/1.xml", CAT)
    self._write("pictures/1.png")
    source = self._read(
        "tree", images=os.path.join(self.root, "pictures"))
    self.assertEqual(self._images(source), {"1": "pictures/1.png"})
    with self.assertRaisesRegex(errors.InputError, "--images"):
      self._read("tree", images="/nowhere")

  @parameterized.parameters(
      "renamed.png", "D:\\shots\\renamed.png", "/home/me/renamed.png")
  def test_what_the_annotation_calls_its_image(self, file_name):
    self._write("1.xml", content=fake_sets.annotation([CAT]).replace(
        "<size>", f"<filename>{file_name}</filename>"
        "<path>/etc/passwd</path><size>"))
    self._write("renamed.png")
    source = self._read()
    self.assertEqual(self._images(source), {"1": "renamed.png"})
    self.assertRegex(source.notices[-1], "^1 image was found.*1: renamed.png")

  def test_nobody_takes_the_image_of_another_annotation(self):
    # Both call their image 1.jpg, which belongs to one of them.
    for name, what in (("1", CAT), ("2", DOG)):
      self._write(f"{name}.xml", content=fake_sets.annotation([what]).replace(
          "<size>", "<filename>1.jpg</filename><size>"))
    self._write("1.jpg")
    source = self._read()
    self.assertEqual(self._images(source), {"1": "1.jpg"})
    self.assertIn("1 XML file without an image is left out, first 2.xml.",
                  source.notices[-1])
    # Or to none of them.
    os.rename(os.path.join(self.root, "1.jpg"),
              os.path.join(self.root, "x.jpg"))
    for name in ("1", "2"):
      self._write(f"{name}.xml", content=fake_sets.annotation([CAT]).replace(
          "<size>", "<filename>x.jpg</filename><size>"))
    with self.assertRaisesRegex(
        errors.InputError, "1.xml: expected one annotation.*2 of x.jpg: 1, 2"):
      self._read()
    # Neither is kept: each may lack the other's labels.
    self._write("3.xml", CAT)
    self._write("3.jpg")
    self.assertEqual(list(self._images(self._read(on_error="skip"))), ["3"])
    self.assertLen(self.problems.messages, 2)

  def test_annotations_without_any_image(self):
    self._write("1.xml", CAT)
    self._write("1.txt")
    with self.assertRaisesRegex(errors.InputError, "none of 1, first 1; .*jpg"):
      self._read()
    os.remove(os.path.join(self.root, "1.xml"))
    with self.assertRaisesRegex(errors.InputError, "folder of images and their "
                                "XML files. Received: no folder VOC"):
      self._read()

  def test_annotations_named_after_whole_images(self):
    self._write("1.jpg.xml", CAT)
    self._write("1.jpg")
    self.assertEqual(self._images(self._read()), {"1.jpg": "1.jpg"})

  def test_linked_folders(self):
    self._write("there/1.jpg")
    self._write("VOC2012/Annotations/1.xml", CAT)
    os.symlink(os.path.join(self.root, "there"),
               os.path.join(self.root, "VOC2012", "JPEGImages"))
    os.symlink(os.path.join(self.root, "there"),
               os.path.join(self.root, "there", "loop"))
    self._write_set("1\n")
    self.assertEqual(self._images(self._read(image_set="train")),
                     {"1": "VOC2012/JPEGImages/1.jpg"})


if __name__ == "__main__":
  absltest.main()
