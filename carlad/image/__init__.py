"""What runs in the images of docker/: a container's environment variables become a daemon or a training.

`python -m carlad.image server` is the daemon with somebody who watches over it, `... trainer` a training that
finds its servers, `... health` and `... drain` what engines and clusters ask. docs/docker.md has the
variables.
"""
