"""Who may do what: tokens that the farm gives out, and people who prove on the Hub who they are. Knows no request."""
