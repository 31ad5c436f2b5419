"""minigen: deep generative models, built by hand in NumPy."""

__version__ = "0.1.0"
