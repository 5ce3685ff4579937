//! `random:SHAPE[:QUANT]`: models of real shapes with seeded random weights, made as they are read.
