"""What is known of a feature in few bytes: read here by pages, with nothing but the standard library, and written by
explorer/work/packing.py.

All numbers are little-endian. The first byte is the version of the form.
"""
