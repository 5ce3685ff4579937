//! `cargo xtask`: placeholder entry until the xtask slice lands.
fn main() {}
