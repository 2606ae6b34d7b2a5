"""Bundles: a trained model as a folder, read and written without torch, so that a coordinator can read its bank."""
