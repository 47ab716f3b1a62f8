"""The panel's texts and page for the pipeline."""
