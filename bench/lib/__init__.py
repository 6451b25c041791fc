"""The driver of the benchmark, imported by bench/run."""
