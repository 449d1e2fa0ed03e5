"""The network: torch modules, YOLOv5's Detect head, and the builder that joins them."""
