"""Interface for Python: sessions and logs as typed objects and data frames."""
