"""Files: the data root's layout, atomic writes, locks and leases, CSV."""
