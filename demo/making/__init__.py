"""What `demo/make.py` does, one module a stage."""
