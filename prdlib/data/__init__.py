"""Studies from every collection in one table, prepared once, served in batches."""

from prdlib.data.preparation import load_prepared, prepare, prepared_info
from prdlib.data.studies import DataError, Studies, load_studies

__all__ = ["DataError", "Studies", "load_prepared", "load_studies", "prepare", "prepared_info"]
