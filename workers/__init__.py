"""The data plane: fetches a model and a benchmark, runs the one on the other, reports. Holds no key and no database."""
