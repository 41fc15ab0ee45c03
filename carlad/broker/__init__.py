"""Who holds which server: the lease table decides, the broker owns it and performs."""
