"""VOCdevkit trees: image sets, class lists and annotations in XML."""

import os
import re

from hypothesis import strategies as st

from kdwsd.data.sources import voc
from tests.data import fake_sets
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

_LIST = "VOC2007/ImageSets/Main/trainval.txt"
_XML = "VOC2007/Annotations/{}.xml"
PLACES = r"VOC2007|VOCdevkit|^: |^expected"
_EACH = r"^VOC2007/(ImageSets/Main/trainval\.txt:\d+|Annotations/.*): "

_BOMB = ('<!DOCTYPE a [<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {x} "{f"&{y};" * 10}">' for x, y in zip("bcdefghi", "abcdefgh"))
         + "]><annotation><object><name>&i;</name></object></annotation>")
_OUTSIDE = ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>'
            "<object><name>&x;</name></object></annotation>")
_REMOTE = ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><annotation>'
           "</annotation>")


def examples():
  """Sound trees, with and without class lists."""
  cat, dog = ("cat", 1, 1, 16, 12, 0), ("dog", 9, 7, 32, 24, 1)
  tree = {
      _LIST: b"000001\n000002\n\n000003\n",
      _XML.format("000001"): fake_sets.annotation([cat]).encode(),
      _XML.format("000002"): fake_sets.annotation([cat, dog]).encode(),
      _XML.format("000003"): (
          '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
          + fake_sets.annotation([dog]).replace("><", ">\n<")).encode("latin1")}
  listed = {
      **tree,
      "VOC2007/ImageSets/Main/cat_trainval.txt":
          b"000001  1\n000002  1\n000003 -1\n",
      "VOC2007/ImageSets/Main/dog_trainval.txt":
          b"000001 -1\n000002  0\n000003  0\n"}
  folders = {
      _LIST: b'"a b" 1\ncam1/000001\ncam1\\000002.jpg\n',
      _XML.format("a b"): tree[_XML.format("000001")],
      _XML.format("cam1/000001"): tree[_XML.format("000002")],
      _XML.format("cam1/000002"): fake_sets.annotation([
          ("cat", 9, 9, 1, 1, 0), ("dog", "nan", 1, 2, 2, 0), dog]).encode(),
      "VOC2007/JPEGImages/a b.PNG": b"x",
      "VOC2007/JPEGImages/cam1/000001.jpg": b"x",
      "VOC2007/JPEGImages/cam1/000001.bmp": b"x"}
  return [tree, listed, folders,
          {**tree, _LIST: "\ufeff000001 1\r\n000003 -1\r\n".encode("utf-8")}]


def _tag(name, content):
  return f"<{name}>{content}</{name}>"


def _document():
  """The text of an annotation."""
  number = g.numbers(1, 30)
  box = st.builds(
      lambda a, b, c, d, drop: _tag("bndbox", "".join(
          _tag(name, value) for name, value in (
              ("xmin", a), ("ymin", b), ("xmax", c), ("ymax", d))
          if name != drop)),
      number, number, g.numbers(30, 60), g.numbers(30, 60),
      g.mostly(st.none(), st.sampled_from(["xmin", "ymax"])))
  name = g.names("cat", "dog", "cat ", "person").map(
      lambda text: text.replace("\0", "").replace("<", "&lt;"))
  thing = st.builds(
      lambda name, box, difficult, outer: _tag(
          outer, _tag("name", name) + difficult + box),
      name, g.mostly(box, st.sampled_from(["", "<bndbox/>", "<bndbox>"])),
      g.mostly(st.sampled_from(["", "<difficult>0</difficult>",
                                "<difficult>1</difficult>"]),
               g.odd_numbers().map(lambda text: _tag("difficult", text))),
      g.mostly(st.just("object"), st.sampled_from(["Object", "objects", "a"])))
  size = g.mostly(st.just("<size><width>64</width><height>62</height></size>"),
                  st.builds(lambda w, h: _tag(
                      "size", _tag("width", w) + _tag("height", h)),
                            g.odd_numbers(), g.odd_numbers()))
  body = st.builds(
      lambda root, size, things, tail: _tag(
          root, size + "".join(things)) + tail,
      g.mostly(st.just("annotation"), st.sampled_from(
          ["html", "annotations", "Annotation", "a:b"])),
      size, st.lists(thing, max_size=3),
      g.mostly(st.just(""), st.sampled_from(["<a/>", "x", "\n", "<!--"])))
  head = g.mostly(st.just(""), st.sampled_from(
      [f'<?xml version="1.0" encoding="{name}"?>' for name in (
          "utf-8", "latin1", "utf-16", "ascii", "cp1252", "utf-7", "hex",
          "no-such", "idna", "rot13", "shift_jis", "big5")]
      + ['<?xml version="9.9"?>', "<!DOCTYPE annotation>", " \n"]))
  sound = st.builds(lambda a, b: a + b, head, body)
  return g.mostly(sound, st.sampled_from([
      _BOMB, _OUTSIDE, _REMOTE, "", "<annotation>", "<annotation/>", "{}",
      "<a>" * 20_000, "<a>" * 20_000 + "</a>" * 20_000,
      "<annotation>" + "<object>" * 5000 + "</object>" * 5000
      + "</annotation>",
      "<annotation " + " ".join(f'a{i}=""' for i in range(5000)) + "/>"]))


def grammar():
  """Trees whose lists, file names and annotations may be odd."""
  line = st.builds(
      lambda image, rest: image + rest,
      g.names("000001", "000002", "000003", "a 1", '"a 1"', "'a 1'",
              "cam/000001", "cam\\000001", "JPEGImages/000001.jpg"),
      g.mostly(st.just(""), st.sampled_from(
          [" 1", "  -1", " 0", " 000002", "\t2", " x y", ".jpg"])))
  lists = g.files(st.lists(line, max_size=5).map(
      lambda rows: "".join(row + "\n" for row in rows)))
  listed = st.dictionaries(st.sampled_from([
      "VOC2007/ImageSets/Main/cat_trainval.txt",
      "VOC2007/ImageSets/Main/yak_trainval.txt",
      "VOC2007/ImageSets/Main/small.txt",
      "VOC2007/ImageSets/Main/dog_small.txt",
      "VOC2007/JPEGImages/000001.jpg", "VOC2007/JPEGImages/000001.JPG",
      "VOC2007/JPEGImages/a 1.png", "VOC2007/JPEGImages/cam/000001.tif",
      _XML.format("a 1"), _XML.format("cam/000001"), _XML.format("000001.jpg"),
  ]), lists, max_size=3).flatmap(lambda names: st.fixed_dictionaries({
      name: g.files(_document()) if name.endswith(".xml") else st.just(content)
      for name, content in names.items()}))
  return st.builds(
      lambda ids, first, second, more, drop: {
          name: content for name, content in {
              _LIST: ids, _XML.format("000001"): first,
              _XML.format("000002"): second, **more}.items() if name != drop},
      lists, g.files(_document()), g.files(_document()), listed,
      g.mostly(st.none(), st.sampled_from([_LIST, _XML.format("000001")])))


def check(folder):
  """Every line of the image set is an image or a problem."""
  content = sourced.read(os.path.join(folder, _LIST))

  def read(problems):
    return voc.read(folder, year="2007", problems=problems)

  found, messages = sourced.check(read, folder, _EACH)
  listed = sourced.lines(content)
  whole = not os.path.isdir(os.path.join(folder, "VOC2007", "ImageSets"))
  oracle.demand(
      whole or len(found.items) + len(messages)
      == sum(bool(line.strip()) for line in listed),
      f"lines lost: {len(listed)} lines, {len(found.items)} images, "
      f"{len(messages)} problems")
  for message in messages:
    oracle.line_exists(message, "trainval.txt", len(listed))
  for item in found.items:
    xml = sourced.read(os.path.join(folder, _XML.format(item.image_id)))
    if b"encoding" not in xml and b"\0" not in xml and b"<!" not in xml:
      things = len(re.findall(rb"<object(?=[\s/>])", xml))
      if item.objects is None:
        oracle.demand(things > len(re.findall(rb"<bndbox>", xml)),
                      f"boxes lost: of {things} objects")
      else:
        there = len(item.objects.boxes) + item.objects.dropped
        oracle.demand(there == things, f"objects lost: {there} of {things}")
      oracle.demand(bool(things) == bool(
          item.label_ids + item.unknown_label_ids), "labels lost")
  sourced.stop(read, messages)
