"""Everything the audit looks for, and one report of it."""
