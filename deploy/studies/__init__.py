"""What the rules of verdicts cost and how often they err, computed, drawn and replayed; no farm runs."""
