"""Claims become reproductions: what is known of each is gathered, a decision is made, and carried out."""
