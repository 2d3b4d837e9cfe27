"""The web page over the images of a split: collects the data of runs and result files, exports and serves it. No torch."""
