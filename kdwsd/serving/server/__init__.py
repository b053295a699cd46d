"""A small server of TF Serving's REST and gRPC APIs, for laptops and tests."""
