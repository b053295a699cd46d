"""Serving: SavedModel exports and a local server for them."""
