"""Who else is told of what happens: signed messages, sent until they were taken, and a log of them."""
