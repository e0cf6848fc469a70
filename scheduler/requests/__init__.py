"""What people ask for, also in comments on the Hub: verify, verify again, approve, publish, cancel, try again."""
