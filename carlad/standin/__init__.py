"""A CARLA-compatible server in pure Python: simple physics, schematic pictures, CARLA 0.9.16's protocol."""
