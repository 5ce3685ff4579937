//! Stands in for `matcher.rs` in a build without grammars: nothing of it can ever exist.

use super::Grammar;
use crate::error::{Error, Result};
use crate::text::Tokenizer;
use std::convert::Infallible;

/// There are none in this build.
#[derive(Debug)]
pub struct Grammars(Infallible);

/// There are none in this build.
#[derive(Debug)]
pub struct Constraint(Infallible);

impl Grammars {
    /// Refuses.
    pub fn new(_: &Tokenizer, _: usize) -> Result<Self> {
        Err(Error::unsupported("answers under a grammar: this build has no feature `grammar`"))
    }

    /// Never called.
    pub fn constraint(&self, _: &Grammar) -> Result<Constraint> {
        match self.0 {}
    }
}

impl Constraint {
    /// Never called.
    pub fn mask(&mut self) -> Result<Vec<u32>> {
        match self.0 {}
    }

    /// Never called.
    pub fn take(&mut self, _: u32) -> Result<()> {
        match self.0 {}
    }

    /// Never called.
    pub fn is_complete(&self) -> bool {
        match self.0 {}
    }
}
