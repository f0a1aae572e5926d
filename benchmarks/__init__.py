"""Speed and memory of wscore beside other libraries: `python -m benchmarks`."""
