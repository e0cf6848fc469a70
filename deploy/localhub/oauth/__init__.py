"""The Hub as OpenID provider: applications that people sign in to, and what these learn of them."""
