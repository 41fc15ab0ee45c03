"""What comes from outside, made up by Hypothesis: it is understood or refused, and nothing else ever happens.

Short in the suite; `make fuzz TIMES=100` tries so many times as many. What ever crashed is an `@example`. The
gateway's messages are in tests/test_messages.py and tests/gateway/test_router.py, whole servers in
tests/standin/test_fuzz.py.
"""
