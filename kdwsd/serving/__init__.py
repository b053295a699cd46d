"""What a trained model is served by: exports, and a local server."""
