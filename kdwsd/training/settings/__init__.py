"""Every setting of `kdwsd.train`, declared once; all else is made from it."""
