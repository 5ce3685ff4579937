//! Answers that were cut off go on from their tokens: what they become is what they would have become.

use crate::common::gpu::{block_on, raw_gpu};
use crate::common::toy::{CONTEXT, Toy};
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::gpu::Gpu;
use trice::session::{
    Batch, FinishReason, GenerateOptions, Generation, KvType, LoadOptions, Overflow, Session, Speculate,
};
use trice::text::{Grammar, SamplingParams};

const PROMPT: [u32; 5] = [257, 3, 1, 4, 1];

fn load(gpu: &Rc<Gpu>, options: LoadOptions) -> Session {
    let options = LoadOptions { kv_type: KvType::F32, ..options };
    block_on(Session::load(gpu, &Toy::llama().open(), &options, &mut |_| {})).unwrap()
}

/// An answer and the text of the pieces it came in.
fn answer(session: &mut Session, options: &GenerateOptions) -> (Generation, String) {
    let mut pieces = String::new();
    let generation = block_on(session.generate(&PROMPT, options, &mut |piece| {
        pieces.push_str(piece.text);
        ControlFlow::Continue(())
    }));
    (generation.unwrap(), pieces)
}

/// Cuts an answer off after `n` tokens and lets it go on in a session that remembers nothing.
fn check(session: &mut Session, options: &GenerateOptions, n: usize) {
    session.forget();
    let (whole, _) = answer(session, options);
    assert!(whole.tokens.len() > n, "{} tokens", whole.tokens.len());
    session.forget();
    let mut told = String::new();
    let mut tokens = Vec::new();
    let cut = block_on(session.generate(&PROMPT, options, &mut |piece| {
        // The device is lost here: nothing more is heard, not even what is held back.
        if tokens.len() < n {
            told.push_str(piece.text);
            tokens.extend_from_slice(piece.tokens);
        }
        if tokens.len() < n { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }));
    assert_eq!(cut.unwrap().finish_reason, FinishReason::Cancelled);
    session.forget();
    let (resumed, rest) = answer(session, &GenerateOptions { answered: tokens, ..options.clone() });
    assert_eq!(resumed.tokens, whole.tokens, "cut after {n}");
    assert_eq!((&resumed.text, told + &rest), (&whole.text, whole.text.clone()), "cut after {n}");
    assert_eq!(resumed.finish_reason, whole.finish_reason);
    assert_eq!(resumed.prompt_tokens, whole.prompt_tokens);
    assert_eq!(resumed.dropped_tokens, whole.dropped_tokens);
}

#[test]
fn an_answer_goes_on_as_if_it_had_never_stopped() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let warm =
        SamplingParams { temperature: 0.9, top_k: 40, seed: 5, repeat_penalty: 1.2, ..SamplingParams::default() };
    let speculating = LoadOptions { speculate: Speculate::Lookup, ..LoadOptions::default() };
    for load_options in [LoadOptions::default(), speculating] {
        let mut session = load(&gpu, load_options);
        for (sampling, overflow, max_tokens) in [
            (SamplingParams::default(), Overflow::Error, Some(40)),
            (warm, Overflow::TruncateMiddle, None),
            (warm, Overflow::Shift, Some(130)),
        ] {
            let options = GenerateOptions { sampling, overflow, max_tokens, ignore_end: true, ..Default::default() };
            for n in [1, 5, 38] {
                check(&mut session, &options, n);
            }
            if overflow == Overflow::Shift {
                check(&mut session, &options, CONTEXT as usize + 9);
            }
        }
    }
}

#[test]
fn what_was_answered_counts_and_may_be_all() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, LoadOptions::default());
    let options = GenerateOptions { max_tokens: Some(12), ignore_end: true, ..Default::default() };
    let (whole, _) = answer(&mut session, &options);
    let all = GenerateOptions { answered: whole.tokens.clone(), ..options.clone() };
    let (same, rest) = answer(&mut session, &all);
    assert_eq!((same.tokens, same.text, rest), (whole.tokens.clone(), whole.text, String::new()));
    assert_eq!((same.finish_reason, same.timings.prefill_tokens), (FinishReason::Length, 0));
    // A stop text that stands in both parts is found.
    let stop = whole.tokens[4..8].iter().map(|id| session.tokenizer().piece(*id)).collect::<Vec<_>>().concat();
    if let Ok(stop) = String::from_utf8(stop) {
        let stopping = GenerateOptions { stop: vec![stop], ..options.clone() };
        let (wanted, _) = answer(&mut session, &stopping);
        let resumed = GenerateOptions { answered: whole.tokens[..6].to_vec(), ..stopping };
        assert_eq!(answer(&mut session, &resumed).0.text, wanted.text);
    }
    let unknown = GenerateOptions { answered: vec![1 << 20], ..options };
    let error = block_on(session.generate(&PROMPT, &unknown, &mut |_| ControlFlow::Continue(()))).unwrap_err();
    assert!(error.to_string().contains("token id 1048576"), "{error}");
}

#[test]
fn answers_under_a_grammar_and_beside_others_go_on() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, LoadOptions { parallel: Some(2), ..LoadOptions::default() });
    let grammar = Some(Grammar::Regex("[a-m]{30}".into()));
    check(&mut session, &GenerateOptions { grammar, ..Default::default() }, 7);
    let options = GenerateOptions { max_tokens: Some(30), ignore_end: true, ..Default::default() };
    let (whole, _) = answer(&mut session, &options);
    session.forget();
    let mut batch = Batch::new(&mut session);
    let quiet = |_: trice::session::Piece<'_>| ControlFlow::Continue(());
    let tickets = [3, 17].map(|n| {
        let answered = whole.tokens[..n].to_vec();
        batch.admit(&PROMPT, &GenerateOptions { answered, ..options.clone() }, Box::new(quiet)).unwrap()
    });
    let mut ended = Vec::new();
    while !batch.is_empty() {
        ended.extend(block_on(batch.step()).unwrap());
    }
    for (ticket, outcome) in ended {
        assert!(tickets.contains(&ticket));
        assert_eq!(outcome.unwrap().tokens, whole.tokens);
    }
}
