"""A Hub in a folder, served over HTTP to the unmodified `huggingface_hub` and `datasets` clients."""
