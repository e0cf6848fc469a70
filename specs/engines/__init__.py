"""What an engine needs for a model: weights and KV cache in bytes, kernels, and GPUs that are well."""
