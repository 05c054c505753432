"""What a run is, whoever started it: its recipe, its folder, its stages, its results."""
