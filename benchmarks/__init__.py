"""minigen beside its peers: the same cases, the same weights, checked equal, timed in turn.

Run `python -m benchmarks` from the repository root; benchmarks/README.md says what is measured and how.
"""
