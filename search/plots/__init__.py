"""The figures of a run. Each function returns a matplotlib figure.

The functions do not use pyplot and do not change matplotlib's settings; `search.plots.style`
defines the two styles. Importing one of the modules imports matplotlib, which is slow.
"""
