//! Several answers of one session at once. Each has a slot of the cache; a decode step advances all of them with one read of
//! the weights. An answer's tokens are what they would be alone. While one of them has a grammar, steps are read back one by one.

use super::answer::OnPiece;
use super::flights::{FLIGHTS, Flights, MAX_STEPS};
use super::request::{GenerateOptions, Generation};
use super::run::Run;
use super::{CHUNKS_PER_WAIT, Session};
use crate::error::{Error, Result};
use crate::gpu::ReadBack;
use crate::kernels::{MAX_SLOTS, Place};
use crate::text::SamplingParams;

/// Names a request of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// A request of a batch.
struct Member<'s> {
    ticket: Ticket,
    sampling: SamplingParams,
    run: Run<'s>,
    /// Why it failed, which is nobody else's affair.
    failed: Option<Error>,
}

impl Member<'_> {
    fn is_reading(&self) -> bool {
        self.failed.is_none() && self.run.answer.finish.is_none() && !self.run.has_read()
    }

    fn is_writing(&self) -> bool {
        self.failed.is_none() && self.run.is_writing()
    }

    fn has_ended(&self) -> bool {
        self.failed.is_some() || self.run.answer.finish.is_some()
    }

    /// Where its last token stands once `n` steps more are read back.
    fn last_after(&self, n: usize) -> Place {
        let next = self.run.next();
        Place { position: next.position + n - 1, ..next }
    }

    fn push(&mut self, id: u32) {
        if let Err(error) = self.run.push(id, None) {
            self.failed = Some(error);
        }
    }

    /// The tokens that may come next, where not all may; `failed` says so where that cannot be known.
    fn allowed(&mut self) -> Option<Vec<u32>> {
        self.run.answer.allowed().unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        })
    }
}

/// Answers under way in the slots of a session, which nobody else uses meanwhile.
pub struct Batch<'s> {
    session: &'s Session,
    members: Vec<Member<'s>>,
    n_admitted: u64,
    /// Columns that the device is set to: whose they are and where their last tokens stand after all that was submitted.
    columns: Vec<(Ticket, Place)>,
    read_backs: [ReadBack; FLIGHTS],
    /// Steps under way, each about the columns of its time.
    flights: Flights<Vec<Ticket>>,
}

impl<'s> Batch<'s> {
    /// No request yet. The session's `LoadOptions::parallel` says how many there may be.
    pub fn new(session: &'s mut Session) -> Self {
        let read_backs = [(); FLIGHTS].map(|()| session.gpu.read_back((MAX_SLOTS * MAX_STEPS * 4) as u64));
        let flights = Flights::new(session.read_latency);
        Self { session, members: Vec::new(), n_admitted: 0, columns: Vec::new(), read_backs, flights }
    }

    /// The session, for prompts.
    pub fn session(&self) -> &'s Session {
        self.session
    }

    /// Whether no request is under way.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether another request has a slot.
    pub fn has_room(&self) -> bool {
        self.members.len() < self.session.decoder.n_slots()
    }

    /// Takes a request in; `step` works on it from now on and hands its pieces to `on_piece`.
    ///
    /// # Errors
    /// As `Session::generate`, and `Limit` when every slot is taken. Log-probabilities are for requests alone.
    pub fn admit(&mut self, prompt: &[u32], options: &GenerateOptions, on_piece: OnPiece<'s>) -> Result<Ticket> {
        if options.logprobs.is_some() {
            return Err(Error::unsupported("log-probabilities of an answer beside others"));
        }
        let taken: Vec<usize> = self.members.iter().map(|member| member.run.slot).collect();
        let run = self.session.begin(prompt, options, &taken, on_piece)?;
        self.n_admitted += 1;
        let ticket = Ticket(self.n_admitted);
        self.members.push(Member { ticket, sampling: options.sampling, run, failed: None });
        Ok(ticket)
    }

    /// Reads a piece of a prompt, writes a few tokens of every answer, and gives the answers that have ended.
    ///
    /// # Errors
    /// What the device reports: no request survives it. What is wrong with one request alone stands in its own outcome.
    pub async fn step(&mut self) -> Result<Vec<(Ticket, Result<Generation>)>> {
        for member in &mut self.members {
            member.run.answer.hear_cancel();
            if member.failed.is_none() && member.run.is_full() {
                self.session.shift(&mut member.run);
            }
        }
        self.read().await?;
        self.write().await?;
        let (ended, going) = std::mem::take(&mut self.members).into_iter().partition(Member::has_ended);
        self.members = going;
        Ok(ended.into_iter().map(|member: Member<'s>| (member.ticket, self.outcome(member))).collect())
    }

    fn outcome(&self, member: Member<'s>) -> Result<Generation> {
        match member.failed {
            Some(error) => {
                // What is no number may stand anywhere in the slot.
                self.session.cached.borrow_mut()[member.run.slot].clear();
                Err(error)
            }
            None => Ok(self.session.end(member.run)),
        }
    }

    /// Reads on in the prompt that waits longest: a chunk of it, or several where no answer waits for that.
    async fn read(&mut self) -> Result<()> {
        let n_chunks = if self.members.iter().any(Member::is_writing) { 1 } else { CHUNKS_PER_WAIT };
        let Some(member) = self.members.iter_mut().find(|member| member.is_reading()) else { return Ok(()) };
        // Prompts use the state of a single sequence.
        self.columns.clear();
        for _ in 0..n_chunks {
            self.session.read_chunk(&mut member.run)?;
            if member.run.has_read() {
                self.session.decoder.set_sampling(&self.session.gpu, &member.sampling);
                if let Some(allowed) = member.allowed() {
                    self.session.decoder.mask_logits(&self.session.gpu, &allowed).await?;
                }
                if member.failed.is_some() {
                    return Ok(());
                }
                let id = self.session.sampled(member.run.next()).await?;
                member.push(id);
                return Ok(());
            }
        }
        self.session.gpu.flush("reading a prompt").await
    }

    /// Keeps steps of every answer whose prompt is read under way, and hands out the tokens of the first of them.
    async fn write(&mut self) -> Result<()> {
        if !self.members.iter().any(|member| member.is_writing() && member.run.answer.is_constrained()) {
            while self.flights.has_room() && self.launch()? {}
        } else if self.flights.is_empty() {
            return self.write_constrained().await;
        }
        let landed = self.flights.land(&self.session.gpu, &self.read_backs).await?;
        let Some((tickets, bytes)) = landed else { return Ok(()) };
        self.hand_out(&tickets, &bytes);
        Ok(())
    }

    /// A token of every answer: the device computes the logits, and meanwhile the host what may come.
    async fn write_constrained(&mut self) -> Result<()> {
        if !self.set_columns()? || self.n_left() == 0 {
            return Ok(());
        }
        let Session { decoder, gpu, .. } = self.session;
        let places: Vec<Place> = self.columns.iter().map(|(_, place)| *place).collect();
        let alone = match places.as_slice() {
            [last] => Some(Place { position: last.position + 1, ..*last }),
            _ => None,
        };
        match alone {
            Some(next) => decoder.decode_to_logits(gpu, next)?,
            None => decoder.decode_slots_to_logits(gpu, &places)?,
        }
        let n_words = decoder.mask_words();
        let mut allowed = Vec::with_capacity(places.len() * n_words);
        for member in self.members.iter_mut().filter(|member| member.is_writing()) {
            allowed.extend(member.allowed().unwrap_or_else(|| vec![u32::MAX; n_words]));
        }
        let to = &self.read_backs[0];
        match alone {
            Some(next) => {
                decoder.mask_logits(gpu, &allowed).await?;
                decoder.sample(gpu, Some((next, to)))?;
            }
            None => decoder.choose_slots(gpu, &places, &allowed, to).await?,
        }
        self.columns.iter_mut().for_each(|(_, place)| place.position += 1);
        let bytes = gpu.fetch(to, places.len() as u64 * 4).await?;
        let tickets: Vec<Ticket> = self.columns.iter().map(|(ticket, _)| *ticket).collect();
        self.hand_out(&tickets, &bytes);
        Ok(())
    }

    /// Gives each of `tickets` its part of the ids in `bytes`. What was computed past an answer's end is dropped.
    fn hand_out(&mut self, tickets: &[Ticket], bytes: &[u8]) {
        let ids: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
        for (ticket, ids) in tickets.iter().zip(ids.chunks(ids.len() / tickets.len())) {
            let known = self.members.iter_mut().find(|member| member.ticket == *ticket && member.failed.is_none());
            if let Some(member) = known {
                ids.iter().for_each(|id| member.push(*id));
            }
        }
    }

    /// Tokens that every answer may still write without a shift.
    fn n_left(&self) -> usize {
        let writing = self.members.iter().filter(|member| member.is_writing());
        writing.map(|member| member.run.n_left()).min().unwrap_or(0)
    }

    /// Makes the device's steps about all who write, unless that must wait for what is under way: where new columns stand is known
    /// only when the old ones have come.
    fn set_columns(&mut self) -> Result<bool> {
        let Session { decoder, gpu, .. } = self.session;
        let writing: Vec<&Member<'_>> = self.members.iter().filter(|member| member.is_writing()).collect();
        let n_flying = self.flights.n_flying();
        let columns: Vec<_> = writing.iter().map(|member| (member.ticket, member.last_after(n_flying))).collect();
        if self.columns != columns {
            if !self.flights.is_empty() {
                return Ok(false);
            }
            match writing.as_slice() {
                [] => {}
                [member] => {
                    decoder.set_state(gpu, member.last_after(0), 1);
                    decoder.set_sampling(gpu, &member.sampling);
                }
                several => {
                    let wanted: Vec<_> = several.iter().map(|one| (one.last_after(0), one.sampling)).collect();
                    decoder.set_slots(gpu, &wanted)?;
                }
            }
        }
        self.columns = columns;
        Ok(true)
    }

    /// Submits steps of all answers, where there is something to write and nothing under way that they must wait for.
    fn launch(&mut self) -> Result<bool> {
        if !self.set_columns()? {
            return Ok(false);
        }
        let n_steps = self.flights.n_steps().min(self.n_left().saturating_sub(self.flights.n_flying()));
        if n_steps == 0 {
            return Ok(false);
        }
        let Session { decoder, gpu, .. } = self.session;
        let to = &self.read_backs[self.flights.read_back()];
        let places: Vec<Place> = self.columns.iter().map(|(_, place)| *place).collect();
        if let [place] = places.as_slice() {
            let first = place.position + 1;
            decoder.decode(gpu, place.slot, first..first + n_steps, to)?;
        } else {
            decoder.decode_slots(gpu, &places, n_steps, to)?;
        }
        let tickets: Vec<Ticket> = self.columns.iter().map(|(ticket, _)| *ticket).collect();
        self.flights.launch(n_steps, (n_steps * tickets.len() * 4) as u64, tickets);
        // The sampler moves the state on by as many tokens.
        self.columns.iter_mut().for_each(|(_, place)| place.position += n_steps);
        Ok(true)
    }
}
