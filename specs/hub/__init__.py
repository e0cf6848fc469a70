"""The Hub's files: what is in them, strictly, and what their authors are told otherwise."""
