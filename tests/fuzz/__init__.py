"""Coverage-guided fuzzing of the readers of strangers' files; the corpus is replayed by the ordinary tests."""
