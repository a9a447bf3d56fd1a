"""Labels of other tools, one module for each family of formats."""
