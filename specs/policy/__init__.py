"""The operator's rules, and what follows from them: sampling settings, costs, budgets, what is verified again."""
