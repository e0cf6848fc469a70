"""What the farm writes on the Hub: once for each verdict, and nothing about a claim that is gone."""
