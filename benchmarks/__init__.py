"""What the auditor costs and how right it is; `python benchmarks/overhead.py`, `python -m benchmarks.accuracy`."""
