"""The reference detector: CFRG of the 3CAD paper, trained, measured and used. Only the command line imports this, and late."""
