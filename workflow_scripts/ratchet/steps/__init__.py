"""The steps of a session, as Snakemake calls them."""
