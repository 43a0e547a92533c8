"""Search for temperature, alpha and loss weights with Ray Tune."""
