"""The generations on disk: where they are, what they say of themselves, whether they are sound."""
