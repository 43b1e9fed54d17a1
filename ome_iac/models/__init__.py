"""From a model's URI, or a stack's lock file, to its `ModelMetadata`. Only `read` uses the network."""
