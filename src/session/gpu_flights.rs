//! Far from the device, many steps share a read-back and the answers stay the same.

use super::{Batch, GenerateOptions, Generation, LoadOptions, Session};
use crate::format::Checkpoint;
use crate::gpu::Gpu;
use crate::text::SamplingParams;
use std::ops::ControlFlow;
use std::rc::Rc;

const PROMPTS: [&[u32]; 2] = [&[1, 5, 9], &[1, 7]];

/// Seconds that a read-back takes through a network.
const FAR: f64 = 0.5;

fn session() -> Option<Session> {
    let gpu = match pollster::block_on(Gpu::open(std::env::var("TRICE_DEVICE").ok().as_deref())) {
        Ok(gpu) => Rc::new(gpu),
        Err(error) if std::env::var_os("REQUIRE_GPU").is_some() => panic!("{error}"),
        Err(error) => {
            println!("skipped: no GPU test here: {error}");
            return None;
        }
    };
    let checkpoint = Checkpoint::random("15m:Q4_0").unwrap();
    let options = LoadOptions { parallel: Some(2), context_len: Some(128), ..LoadOptions::default() };
    Some(pollster::block_on(Session::load(&gpu, &checkpoint, &options, &mut |_| {})).unwrap())
}

fn options(max_tokens: usize) -> GenerateOptions {
    let sampling = SamplingParams { temperature: 0.8, seed: 3, ..SamplingParams::default() };
    GenerateOptions { max_tokens: Some(max_tokens), ignore_end: true, sampling, ..GenerateOptions::default() }
}

fn alone(session: &mut Session, prompt: &[u32], latency: f64) -> Generation {
    session.read_latency = latency;
    session.forget();
    let all = &mut |_: super::Piece<'_>| ControlFlow::Continue(());
    pollster::block_on(session.generate(prompt, &options(64), all)).unwrap()
}

/// Both prompts at once, one of them shorter; with the read-backs that all took.
fn together(session: &mut Session, latency: f64) -> (Vec<Vec<u32>>, u64) {
    session.read_latency = latency;
    session.forget();
    let before = session.gpu.traffic().read_backs;
    let mut batch = Batch::new(session);
    let mut tickets = Vec::new();
    for (prompt, n) in PROMPTS.into_iter().zip([64, 40]) {
        tickets.push(batch.admit(prompt, &options(n), Box::new(|_| ControlFlow::Continue(()))).unwrap());
    }
    let mut answers = vec![Vec::new(); tickets.len()];
    while !batch.is_empty() {
        for (ticket, answer) in pollster::block_on(batch.step()).unwrap() {
            let at = tickets.iter().position(|known| *known == ticket).unwrap();
            answers[at] = answer.unwrap().tokens;
        }
    }
    (answers, batch.session().gpu.traffic().read_backs - before)
}

#[test]
fn steps_share_read_backs_and_tokens_stay_the_same() {
    let Some(mut session) = session() else { return };
    let near: Vec<Generation> = PROMPTS.map(|prompt| alone(&mut session, prompt, 0.0)).into();
    let far: Vec<Generation> = PROMPTS.map(|prompt| alone(&mut session, prompt, FAR)).into();
    for (near, far) in near.iter().zip(&far) {
        assert_eq!(near.tokens, far.tokens);
        let (near, far) = (near.timings.read_backs_per_token, far.timings.read_backs_per_token);
        println!("alone: {near:.2} read-backs per token, {far:.2} where one takes {FAR} s");
        assert!(far < 0.3 && (0.9..1.1).contains(&near), "{near} and {far}");
    }
    let (answers, n_near) = together(&mut session, 0.0);
    let (again, n_far) = together(&mut session, FAR);
    println!("two answers of 64 and 40 tokens: {n_near} read-backs, {n_far} where one takes {FAR} s");
    assert_eq!(answers, [near[0].tokens.clone(), near[1].tokens[..40].to_vec()]);
    assert_eq!(again, answers);
    assert!(n_far < 20 && n_near > 60, "{n_near} and {n_far}");
}
