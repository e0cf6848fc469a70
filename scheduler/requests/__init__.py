"""What people ask for: verify, verify again, approve, cancel, try again."""
