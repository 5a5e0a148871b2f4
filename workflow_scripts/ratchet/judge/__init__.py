"""Is this candidate truly better?  A Bayesian judge under run-to-run noise."""
