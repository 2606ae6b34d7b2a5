"""How good a bundle is: protocols, measures, plots, ablation."""
