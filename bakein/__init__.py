"""bakein: is reasoning baked in during pretraining, or bolted on afterwards?"""

__version__ = "0.1.0"
