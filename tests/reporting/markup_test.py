"""Tests of escaping."""

from absl.testing import absltest

from kdwsd.reporting import markup


class MarkupTest(absltest.TestCase):

  def test_text_and_attributes_are_escaped(self):
    self.assertEqual(
        markup.element("a", '<b> & "c"', title='"><script>'),
        '<a title="&quot;&gt;&lt;script&gt;">&lt;b&gt; &amp; &quot;c&quot;</a>')

  def test_html_is_left_alone_also_in_lists(self):
    inner = markup.element("b", "x<y")
    self.assertEqual(markup.element("p", [inner, ["<", inner]], None, 1),
                     "<p><b>x&lt;y</b>&lt;<b>x&lt;y</b>1</p>")
    self.assertIsInstance(markup.join(inner, "<"), markup.Html)

  def test_joined_html_and_text_is_text_again(self):
    # A sum of both would smuggle text past the escaping.
    self.assertNotIsInstance(markup.Html("<b>") + "<i>", markup.Html)

  def test_names_of_attributes(self):
    made = markup.element(
        "input", class_="a", aria_label="b", for_=None, checked=True)
    self.assertEqual(made, '<input class="a" aria-label="b" checked>')


if __name__ == "__main__":
  absltest.main()
