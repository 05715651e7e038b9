"""Who may do what, and the secrets that show who somebody is."""
