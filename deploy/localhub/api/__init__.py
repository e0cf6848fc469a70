"""The Hub's HTTP interface, as `huggingface_hub` 2.4 and `datasets` use it."""
