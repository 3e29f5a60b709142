"""Everything around the models, one noun a file."""
