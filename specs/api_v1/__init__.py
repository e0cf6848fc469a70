"""What the API says and takes, version 1. What may change and what may not stands in `specs.api_v1.views`."""
