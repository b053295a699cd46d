"""Damage to files that were sound: what disks, editors and people do to them.

All is drawn from a `random.Random`, so that a seed makes the same damage on
every machine.
"""

import re

# What parsers stumble over, wherever it stands.
_TOKENS = tuple(text.encode("utf-8") for text in (
    "", "0", "-1", "-0", "1", "2", "0.5", "1e3", "1e39", "1e308", "1e309",
    "-1e309", "nan", "NaN", "inf", "Infinity", "-Infinity", "1_0", "0x10",
    "²", "١", "٣", "9" * 30, "9" * 400, "9" * 5000, "2147483648",
    "9223372036854775808", "18446744073709551616", "null", "true", "[]", "{}",
    "\"\"", "\"", "'", ",", ";", "|", " ", "\t", "\n", "\r", "\r\n", "\n\n",
    "\v", "\f", "\x1c", "\x85", "\u2028", "\u00a0", "\ufeff", "\0", "\x1a",
    "..", "../", "/", "\\", "~", "%s", "%n", "{0}", "a" * 300, "é", "😀",
    "\\ud800", "\\u0000", "&lol;", "<!--", "-->", "<![CDATA[", "]]>", "<a>",
    "--flagfile=", "=")) + (b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80")

_INTERESTING_BYTES = (0, 1, 9, 10, 13, 32, 34, 44, 45, 46, 48, 57, 60, 0x7f,
                      0x80, 0xbf, 0xc0, 0xd8, 0xda, 0xe1, 0xfe, 0xff)
_INTERESTING_INTEGERS = (0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
                         0x7fffffff, 0x80000000, 0xffffffff, 2 ** 63 - 1,
                         2 ** 63, 2 ** 64 - 1)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb"[^\s,;:<>\[\]{}\"']+")


def mutate(case, random, others):
  """Damages a case.

  Args:
    case: {path: bytes}; not changed.
    random: a `random.Random`.
    others: cases to take parts from.

  Returns:
    A new case.
  """
  damaged = dict(case)
  for _ in range(random.choice((1, 1, 1, 2, 2, 3, 6))):
    if not damaged:
      break
    name = random.choice(sorted(damaged))
    if random.random() < 0.02:
      del damaged[name]
      continue
    content = damaged[name]
    kind = random.choice(_KINDS)
    if kind is _splice:
      other = random.choice(others)
      content = _splice(content, random, other.get(name, b""))
    else:
      content = kind(content, random)
    damaged[name] = content
  return damaged


def _flip_bit(content, random):
  if not content:
    return content
  at = random.randrange(len(content))
  return (content[:at] + bytes([content[at] ^ 1 << random.randrange(8)])
          + content[at + 1:])


def _set_byte(content, random):
  if not content:
    return content
  at = random.randrange(len(content))
  return (content[:at] + bytes([random.choice(_INTERESTING_BYTES)])
          + content[at + 1:])


def _set_integer(content, random):
  size = random.choice((2, 4, 8))
  if len(content) < size:
    return content
  at = random.randrange(len(content) - size + 1)
  value = random.choice(_INTERESTING_INTEGERS) % 256 ** size
  return (content[:at]
          + value.to_bytes(size, random.choice(("little", "big")))
          + content[at + size:])


def _insert(content, random):
  at = random.randint(0, len(content))
  return content[:at] + random.choice(_TOKENS) + content[at:]


def _insert_noise(content, random):
  at = random.randint(0, len(content))
  noise = random.randbytes(random.choice((1, 2, 4, 16, 100)))
  return content[:at] + noise + content[at:]


def _delete(content, random):
  start, end = _range(content, random)
  return content[:start] + content[end:]


def _repeat(content, random):
  start, end = _range(content, random)
  times = random.choice((2, 2, 3, 50 if end - start <= 64 else 2))
  return content[:start] + content[start:end] * times + content[end:]


def _truncate(content, random):
  return content[:random.randint(0, len(content))]


def _zero(content, random):
  start, end = _range(content, random)
  return content[:start] + bytes(end - start) + content[end:]


def _replace_number(content, random):
  return _replace(_NUMBER, content, random)


def _replace_word(content, random):
  return _replace(_WORD, content, random)


def _replace(pattern, content, random):
  found = list(pattern.finditer(content[:20000]))
  if not found:
    return content
  one = random.choice(found)
  # Another word of the same file is as likely as an odd one.
  new = random.choice((random.choice(_TOKENS), random.choice(found)[0]))
  return content[:one.start()] + new + content[one.end():]


def _swap_words(content, random):
  found = list(_WORD.finditer(content[:20000]))
  if len(found) < 2:
    return content
  first, second = sorted(random.sample(found, 2), key=lambda m: m.start())
  return (content[:first.start()] + second[0]
          + content[first.end():second.start()] + first[0]
          + content[second.end():])


def _lines(content, random):
  lines = content.split(b"\n")
  at = random.randrange(len(lines))
  what = random.randrange(4)
  if what == 0:
    random.shuffle(lines)
  elif what == 1:
    lines.insert(random.randint(0, len(lines)), lines[at])
  elif what == 2:
    del lines[at]
  else:
    lines[at:at + 2] = [b"".join(lines[at:at + 2])]
  return b"\n".join(lines)


def _line_ends(content, random):
  new = random.choice((b"\r\n", b"\r", b"\n\n", b"\0\n", b" \n"))
  return content.replace(b"\n", new)


def _encoding(content, random):
  text = content.decode("utf-8", "replace")
  return text.encode(random.choice((
      "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7")))


def _splice(content, random, other):
  start, end = _range(content, random)
  from_, to = _range(other, random)
  return content[:start] + other[from_:to] + content[end:]


def _range(content, random):
  length = random.choice((1, 2, 4, 8, 16, 64, max(1, len(content) // 2)))
  start = random.randint(0, len(content))
  return start, min(len(content), start + length)


_KINDS = (_flip_bit, _flip_bit, _set_byte, _set_integer, _insert, _insert,
          _insert_noise, _delete, _repeat, _truncate, _zero, _replace_number,
          _replace_number, _replace_word, _replace_word, _swap_words, _lines,
          _lines, _line_ends, _encoding, _splice)
