//! Which slot of the cache serves a request: what each holds, what is worth keeping, and copying one to another, so that two
//! conversations share the reading of what they begin with.

use super::Session;
use crate::error::{Error, Result};
use crate::kernels::Place;

/// Tokens that are read in the time a slot takes to be copied, roughly: shorter beginnings are read again instead.
const COPY_TOKENS: usize = 16;

impl Session {
    /// Lets the last conversation go on in two ways: what its slot holds is copied to the slot least worth keeping. The next
    /// prompts that begin with it read only what is new to them, each in a slot of its own. Returns the tokens shared. Prompts that
    /// begin alike come to that by themselves as well, as long as nothing else needs the slots.
    ///
    /// # Errors
    /// `Invalid` for a session loaded with one slot, and where no prompt was read yet.
    pub fn fork(&mut self) -> Result<usize> {
        let name = &self.info.name;
        if self.parallel() == 1 {
            let how = "load it with `parallel` of 2 or more";
            return Err(Error::invalid(format!("forking {name}: it has room for one conversation; {how}")));
        }
        let from = self.last_slot.get();
        let text = self.cached.borrow()[from].clone();
        if text.is_empty() {
            return Err(Error::invalid(format!("forking {name}: there is no conversation yet")));
        }
        let to = self.choose_slot(&text, &[from])?;
        self.copy_slot(from, to, text.len())?;
        Ok(text.len())
    }

    /// The slot not `taken` that serves `prompt` best, made to hold no more than what it shares with it, and how much that is: what
    /// another slot shares with it is copied where that is worth it.
    pub(super) fn prepare_slot(&self, prompt: &[u32], taken: &[usize]) -> Result<(usize, usize)> {
        let to = self.choose_slot(prompt, taken)?;
        let (from, n) = self.best_shared(prompt);
        if n > self.reusable(to, prompt) + COPY_TOKENS {
            self.copy_slot(from, to, n)?;
        }
        self.last_slot.set(to);
        Ok((to, self.keep_shared(to, prompt)))
    }

    /// Makes a slot forget what it does not share with `text`, and says how much it does.
    pub(super) fn keep_shared(&self, slot: usize, text: &[u32]) -> usize {
        let n_shared = self.reusable(slot, text);
        self.cached.borrow_mut()[slot].truncate(n_shared);
        self.truncate_draft(n_shared);
        n_shared
    }

    /// How many tokens of `text` a slot holds already; the last one is run again for its logits.
    fn reusable(&self, slot: usize, text: &[u32]) -> usize {
        let cached = &self.cached.borrow()[slot];
        let same = cached.iter().zip(text).take_while(|(held, wanted)| held == wanted).count();
        let position = same.min(text.len().saturating_sub(1));
        if self.decoder.resumes(Place { slot, position }) { position } else { 0 }
    }

    /// The slot that holds most of `text`, be it taken or not, and how much.
    fn best_shared(&self, text: &[u32]) -> (usize, usize) {
        let shared = (0..self.parallel()).map(|slot| (slot, self.reusable(slot, text)));
        shared.max_by_key(|(_, n)| *n).unwrap_or((0, 0))
    }

    /// The slot not `taken` where the fewest tokens have to be read: now, instead of what another slot holds, or later, by those
    /// who come back for what is lost.
    fn choose_slot(&self, text: &[u32], taken: &[usize]) -> Result<usize> {
        let (_, most) = self.best_shared(text);
        let cost = |slot: &usize| {
            let reused = self.reusable(*slot, text);
            (most - reused).min(COPY_TOKENS) + self.cached.borrow()[*slot].len() - reused
        };
        let free = (0..self.parallel()).filter(|slot| !taken.contains(slot));
        free.min_by_key(cost).ok_or_else(|| Error::Limit {
            what: "answers at once".into(),
            needed: taken.len() as u64 + 1,
            available: taken.len() as u64,
        })
    }

    /// Makes slot `to` hold the first `n` tokens of `from`.
    fn copy_slot(&self, from: usize, to: usize, n: usize) -> Result<()> {
        self.decoder.copy_slot(&self.gpu, from, to)?;
        let mut cached = self.cached.borrow_mut();
        cached[to] = cached[from][..n].to_vec();
        Ok(())
    }
}
