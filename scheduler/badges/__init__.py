"""What a badge states, the key that signs it, and when it is signed."""
