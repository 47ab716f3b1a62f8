"""The panel's texts for this pipeline."""
