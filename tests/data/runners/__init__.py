"""Tests of `kdwsd.data.runners`."""
