"""What is wanted: one pydantic class per kind of document, from YAML or Python, checked as a whole."""
