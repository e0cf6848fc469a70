"""The contracts that every room keeps, and the rule that decides a match. Pure: no network, no database."""
