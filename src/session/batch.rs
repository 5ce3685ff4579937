//! Several answers of one session at once. Each has a slot of the cache; a decode step advances all of them with one read of
//! the weights. An answer's tokens are what they would be alone.

use super::answer::OnPiece;
use super::decode::MAX_STEPS_PER_READ;
use super::request::{GenerateOptions, Generation};
use super::run::Run;
use super::{CHUNKS_PER_WAIT, Session};
use crate::error::{Error, Result};
use crate::gpu::ReadBack;
use crate::kernels::{MAX_SLOTS, Place};
use crate::text::SamplingParams;
use web_time::Instant;

/// Decoding per wait for a read-back, in read latencies: the device idles for a fifth of the time at most.
const LATENCIES_PER_READ: f64 = 4.0;

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

    /// Where its last token stands.
    fn last(&self) -> Place {
        let next = self.run.next();
        Place { position: next.position - 1, ..next }
    }

    fn push(&mut self, id: u32) {
        if let Err(error) = self.run.push(id, None) {
            self.failed = Some(error);
        }
    }
}

/// Answers under way in the slots of a session, which nobody else uses meanwhile.
pub struct Batch<'s> {
    session: &'s Session,
    members: Vec<Member<'s>>,
    n_admitted: u64,
    /// Columns that the device is set to: whose they are and where their last tokens stand.
    columns: Vec<(Ticket, Place)>,
    read_back: ReadBack,
    /// Steps until the next read-back.
    n_steps: usize,
}

impl<'s> Batch<'s> {
    /// No request yet. The session's `LoadOptions::parallel` says how many there may be.
    pub fn new(session: &'s mut Session) -> Self {
        let read_back = session.gpu.read_back((MAX_SLOTS * MAX_STEPS_PER_READ * 4) as u64);
        Self { session, members: Vec::new(), n_admitted: 0, columns: Vec::new(), read_back, n_steps: 1 }
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
        let slot = self.session.choose_slot(prompt, &taken).ok_or_else(|| Error::Limit {
            what: "answers at once".into(),
            needed: taken.len() as u64 + 1,
            available: taken.len() as u64,
        })?;
        let run = self.session.begin(slot, prompt, options, on_piece)?;
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
        self.members.iter_mut().for_each(|member| member.run.answer.hear_cancel());
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
                let id = self.session.sampled(member.run.next()).await?;
                member.push(id);
                return Ok(());
            }
        }
        self.session.gpu.flush("reading a prompt").await
    }

    /// Writes a few tokens of every answer whose prompt is read.
    async fn write(&mut self) -> Result<()> {
        let writing: Vec<&mut Member<'_>> = self.members.iter_mut().filter(|member| member.is_writing()).collect();
        let Some(n_left) = writing.iter().map(|member| member.run.n_left()).min() else { return Ok(()) };
        let n_steps = self.n_steps.min(n_left);
        let columns: Vec<_> = writing.iter().map(|member| (member.ticket, member.last())).collect();
        let places: Vec<Place> = columns.iter().map(|(_, place)| *place).collect();
        let Session { decoder, gpu, .. } = self.session;
        let start = Instant::now();
        if let ([place], [member]) = (places.as_slice(), writing.as_slice()) {
            if self.columns != columns {
                decoder.set_state(gpu, *place, 1);
                decoder.set_sampling(gpu, &member.sampling);
            }
            let first = place.position + 1;
            decoder.decode(gpu, place.slot, first..first + n_steps, &self.read_back)?;
        } else {
            if self.columns != columns {
                let wanted: Vec<_> = writing.iter().map(|member| (member.last(), member.sampling)).collect();
                decoder.set_slots(gpu, &wanted)?;
            }
            decoder.decode_slots(gpu, &places, n_steps, &self.read_back)?;
        }
        let bytes = gpu.fetch(&self.read_back, (n_steps * columns.len() * 4) as u64).await?;
        let seconds_per_step = start.elapsed().as_secs_f64() / n_steps as f64;
        let wanted = LATENCIES_PER_READ * self.session.read_latency / seconds_per_step;
        self.n_steps = (wanted.ceil() as usize).clamp(1, MAX_STEPS_PER_READ);
        let ids: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        for (member, ids) in writing.into_iter().zip(ids.chunks(n_steps)) {
            ids.iter().for_each(|id| member.push(*id));
        }
        // The sampler has moved the state on by as many tokens.
        let moved = |(ticket, place): (Ticket, Place)| (ticket, Place { position: place.position + n_steps, ..place });
        self.columns = columns.into_iter().map(moved).collect();
        Ok(())
    }
}
