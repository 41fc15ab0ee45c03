from tests.fleet.conftest import environ

__all__ = ["environ"]
