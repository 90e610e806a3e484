"""Reading, checking and overriding YAML configurations."""
