"""Benchmarks: the peer and we in one run, ratios, growth, aims."""
