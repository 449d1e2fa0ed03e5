"""x"""
from yolobench_figures import Figures
def write_tables(figures: Figures) -> None:
    """y"""
