"""In the place of a package that takes a second to import, in every Jupyter Server.

It checks a format that no schema of Jupyter's has; jsonschema does without.
"""

raise ImportError(__doc__)
