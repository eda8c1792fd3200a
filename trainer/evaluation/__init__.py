"""What a model is worth: held-out loss, text; later benchmarks."""
