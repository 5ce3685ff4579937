//! Answers of one model beside each other (`--parallel`): requests join while others are at work, and short work for other
//! models runs between the steps.

use super::engine::Job;
use super::models::Loaded;
use super::queue::Queue;
use super::work::{self, Run, Work};
use trice::session::{Batch, GenerateOptions, Generation, Ticket};

/// Whether this work may run beside other work of its kind. Log-probabilities read every step's logits: they run alone.
pub(crate) fn may_share(model: &Loaded, work: &Work) -> bool {
    let has_slots = matches!(model, Loaded::Decoder(session) if session.parallel() > 1);
    has_slots && may_join(work)
}

fn may_join(work: &Work) -> bool {
    matches!(work, Work::Generate { options, .. } if options.logprobs.is_none())
}

/// Works on `first`, and while that lasts on what else comes for its model. What cannot run now is left in the queue.
pub(crate) async fn perform(loaded: &mut [Option<Loaded>], first: Job, queue: &mut Queue) -> trice::Result<()> {
    let index = first.model;
    let mut others: Vec<_> = loaded.iter_mut().map(Option::as_mut).collect();
    let Some(Loaded::Decoder(session)) = others.get_mut(index).and_then(Option::take) else { return Ok(()) };
    let mut shared = Shared { batch: Batch::new(session), runs: Vec::new() };
    queue.waiting.push_front(first);
    loop {
        queue.take_in();
        // The first that must wait for a slot, or for the model, is overtaken by short work alone.
        let mut is_blocked = false;
        for _ in 0..queue.waiting.len() {
            let Some(job) = queue.waiting.pop_front() else { break };
            let fits = job.model == index && may_join(&job.work) && shared.batch.has_room() && !is_blocked;
            match others.get_mut(job.model).and_then(Option::as_mut) {
                _ if job.cancel.is_cancelled() => {}
                None if fits => shared.admit(job),
                Some(other) if !matches!(job.work, Work::Generate { .. }) => {
                    shared.between(work::perform(other, job).await)?;
                }
                _ => {
                    is_blocked = true;
                    queue.waiting.push_back(job);
                }
            }
        }
        if shared.batch.is_empty() {
            return Ok(());
        }
        shared.step().await?;
    }
}

/// Answers under way, and who waits for them.
struct Shared<'s> {
    batch: Batch<'s>,
    runs: Vec<(Ticket, Run)>,
}

impl Shared<'_> {
    /// Takes a request in, or tells it why not.
    fn admit(&mut self, job: Job) {
        let Job { cancel, deadline, waiting, work: Work::Generate { prompt, options, events }, .. } = job else {
            return;
        };
        let run = Run::new(events, deadline, waiting);
        let mut options = GenerateOptions { cancel, ..*options };
        let admitted = run.accept(self.batch.session(), &prompt, &mut options).and_then(|ids| match ids {
            Some(ids) => self.batch.admit(&ids, &options, run.on_piece()).map(Some),
            None => Ok(None),
        });
        match admitted {
            Ok(Some(ticket)) => self.runs.push((ticket, run)),
            Ok(None) => {}
            Err(error) => run.fail(&error),
        }
    }

    /// Lets every answer grow; those that have ended go to their requests.
    async fn step(&mut self) -> trice::Result<()> {
        let ended = self.batch.step().await;
        for (ticket, outcome) in self.or_fail_all(ended)? {
            self.tell(ticket, outcome)?;
        }
        Ok(())
    }

    fn tell(&mut self, ticket: Ticket, outcome: trice::Result<Generation>) -> trice::Result<()> {
        let Some(at) = self.runs.iter().position(|(known, _)| *known == ticket) else { return Ok(()) };
        let (_, run) = self.runs.swap_remove(at);
        match outcome {
            Ok(answer) => run.finish(&answer),
            Err(error) => {
                run.fail(&error);
                return self.between(Err(error));
            }
        }
        Ok(())
    }

    /// What went wrong with one request is its own affair, unless the device is broken: then it is everybody's.
    fn between(&self, result: trice::Result<()>) -> trice::Result<()> {
        let Err(error) = result else { return Ok(()) };
        tracing::error!("{error}");
        let sound = self.batch.session().gpu().check("after a failed request");
        self.or_fail_all(sound)
    }

    fn or_fail_all<T>(&self, result: trice::Result<T>) -> trice::Result<T> {
        result.inspect_err(|error| self.runs.iter().for_each(|(_, run)| run.fail(error)))
    }
}
