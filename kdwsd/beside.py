"""Work on the host in threads, beside that of the device.

The main thread keeps the device busy: it draws items, each of which it waits
for, while threads work on those drawn before. They gain where the work leaves
Python's lock, as NumPy does in large arrays, OpenCV and file access.
"""

import collections
from concurrent import futures


def mapped(function, items, *, num_threads, most_waiting=128):
  """Like `map`: results in the order of the items, errors where they belong.

  Nothing is left running when the generator is closed or fails, by an
  interruption, too: threads finish what they have begun, and the rest is
  dropped. Close it with `contextlib.closing` where the loop over it may fail.

  Args:
    function: of an item; it runs in a thread, and in several at a time.
    items: iterable; the calling thread draws from it.
    num_threads: 0 calls the function in the calling thread, item by item.
    most_waiting: how many items may be drawn before the first of their results
      is taken; bounds the memory. By default two batches of 64 images.

  Yields:
    The result for each item.
  """
  if not num_threads:
    yield from map(function, items)
    return
  waiting = collections.deque()
  pool = futures.ThreadPoolExecutor(num_threads, thread_name_prefix="beside")
  try:
    for item in items:
      waiting.append(pool.submit(function, item))
      while waiting and (len(waiting) >= most_waiting or waiting[0].done()):
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
