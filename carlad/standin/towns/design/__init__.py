"""How the bundled towns are made: a network of streets, its lanes through junctions, and OpenDRIVE text.

Runs when towns are generated; a server only reads what it wrote.
"""
