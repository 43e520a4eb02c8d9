"""What people are shown of a run: rows and words that every table, page and file renders."""
