"""HTML from plain values: whatever is not HTML already is escaped."""

import html

# Elements without an end.
_VOID = frozenset(["br", "img", "input", "link", "meta"])


class Html(str):
  """Text that is HTML already; everything else is escaped."""

  __slots__ = ()


def element(name, /, *children, **attributes):
  """Makes an element.

      element("a", "R&D", href="#x", class_="big")
      <a href="#x" class="big">R&amp;D</a>

  Args:
    name: of the element.
    *children: `Html`, other values, which are escaped, or lists of both; None
      is left out.
    **attributes: an underscore at the end is dropped, others become hyphens;
      None is left out, True has no value.

  Returns:
    `Html`.
  """
  written = []
  for key, value in attributes.items():
    if value is None:
      continue
    key = key.rstrip("_").replace("_", "-")
    written.append(f" {key}" if value is True
                   else f' {key}="{html.escape(str(value))}"')
  start = f"<{name}{''.join(written)}>"
  if name in _VOID:
    return Html(start)
  return Html(f"{start}{join(*children)}</{name}>")


def join(*children):
  """Joins children as `element` does, without an element around them."""
  parts = []
  for child in children:
    if isinstance(child, Html):
      parts.append(child)
    elif isinstance(child, (list, tuple)):
      parts.append(join(*child))
    elif child is not None:
      parts.append(html.escape(str(child)))
  return Html("".join(parts))
