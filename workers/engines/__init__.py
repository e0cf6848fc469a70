"""vLLM on this machine's devices: started, watched, put to sleep, ended; and whether the devices are well."""
