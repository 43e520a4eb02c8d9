"""Picture files and photographs: read, checked, cropped, written."""
