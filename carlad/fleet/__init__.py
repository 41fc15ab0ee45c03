"""Slots and their servers: started, probed, leased, ended, restarted."""
