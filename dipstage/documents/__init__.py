"""Files: plain YAML, typed records, and schedule files."""
