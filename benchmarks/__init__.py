"""Benchmarks: every path against what a user would pick instead, and against the limit."""
