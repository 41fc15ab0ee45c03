"""Programs that use the official client where it may abort its process. They print one line of JSON."""
