"""A lease of few seconds: what waits for the end of one need not wait for twenty."""

SECONDS = 6.0
# for the beginning of an owner's code
SHORT_LEASE = f"""
import code_sandboxes.channels.reconnect
code_sandboxes.channels.reconnect.SILENCE = {SECONDS}
"""
