"""A pickle as other programs left it."""

import numpy as np

# As cPickle of Python 2 wrote {"boxes": [array([[1, 2, 3, 4]], "<f4")],
# "indexes": [12]}: text and the bytes of arrays are both its `str`.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x05boxesq\x02]q\x03cnumpy.core.multiarray\n"
    b"_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01bq\x06\x87Rq\x07"
    b"(K\x01K\x01K\x04\x86cnumpy\ndtype\nq\x08U\x02f4q\tK\x00K\x01\x87Rq\n"
    b"(K\x03U\x01<q\x0bNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x10"
    + np.array([1, 2, 3, 4], "<f4").tobytes()
    + b"q\x0ctbaU\x07indexesq\x0d]q\x0eK\x0cau.")
