//! Drafts on the GPU: their kernels against CPU twins, and answers with drafts against answers without: the same, token for
//! token.

use crate::common::gpu::{block_on, open_bytes, open_folder, raw_gpu};
use crate::common::kernels::{columns, run_with_state, upload, upload_ids};
use crate::common::reference::{self, noise};
use crate::common::toy::{DIM, FFN_DIM, Meta, N_LAYERS, Toy, decoder_tokens};
use crate::common::{llama2c, shared};
use crate::gpu_slots::{place, read_u32};
use std::ops::ControlFlow;
use std::rc::Rc;
use trice::Error;
use trice::format::{Checkpoint, DType};
use trice::gpu::{Buffer, Choices, Gpu, OneColumn};
use trice::kernels::attention::split_len;
use trice::kernels::sample::{SAMPLING_BYTES, sample, write_sampling};
use trice::kernels::speculate::{History, Lookup, accept, adopt, lookup};
use trice::kernels::{ColumnsAre, PROGRESS_BYTES, Pass, Progress, STATE_BYTES, write_state};
use trice::session::{Cancel, FinishReason, GenerateOptions, Generation, KvType, LoadOptions, Session, Speculate};
use trice::text::{SamplingParams, sampling};

/// Slots of the histories here; the text is in the second, so that a forgotten slot shows.
const SLOTS: usize = 3;

/// An id that no test expects.
const JUNK: u32 = 77_777;

/// A history that holds `text` in the second of its slots, and junk elsewhere.
fn history(gpu: &Gpu, text: &[u32], context_len: usize) -> Buffer {
    let mut ids = vec![JUNK; SLOTS * (context_len + 1)];
    ids[context_len + 1..][..text.len()].copy_from_slice(text);
    upload_ids(gpu, &ids)
}

/// The text of the second slot, its junk included.
fn text_of(gpu: &Gpu, history: &Buffer, context_len: usize) -> Vec<u32> {
    let ids = read_u32(gpu, history, SLOTS * (context_len + 1));
    assert!(ids[..=context_len].iter().chain(&ids[2 * (context_len + 1)..]).all(|id| *id == JUNK), "another slot");
    ids[context_len + 1..2 * (context_len + 1)].to_vec()
}

/// Runs what `body` records with `n_tokens` columns, the last of `n` ids being the first; what the state says then.
fn run(gpu: &Gpu, n: usize, n_tokens: usize, body: impl FnOnce(&mut Pass<'_>)) -> (Buffer, Progress, usize) {
    let state = gpu.uniform("state", STATE_BYTES);
    write_state(gpu, &state, place(1, n - 1), n_tokens);
    let vectors = upload(gpu, &[0.0; 4]);
    run_with_state(gpu, &vectors, &state, ColumnsAre::Sequence, body);
    let progress = Progress::read(&block_on(gpu.read(&state, 0, PROGRESS_BYTES)).unwrap());
    let n_tokens = read_u32(gpu, &state, 2)[1] as usize;
    (state, progress, n_tokens)
}

#[test]
fn lookup_finds_what_its_twin_finds() {
    let Some(gpu) = raw_gpu() else { return };
    let random = |seed, n, n_kinds: f32| -> Vec<u32> {
        noise(seed, n).iter().map(|v| ((v + 1.0) / 2.0 * n_kinds) as u32).collect()
    };
    let mut cases: Vec<(Vec<u32>, usize)> = vec![
        // No match; texts shorter than any match, or as long as one; a match of one id alone.
        (vec![1, 2, 3, 4, 5, 6], 40),
        (vec![1], 40),
        (vec![1, 1], 40),
        (vec![1, 2, 1], 40),
        // A loop whose match ends at the last id but one; the first ids of the text; the latest of two.
        (vec![5, 5, 5], 40),
        (vec![9, 1, 2, 9, 1, 2, 9, 1, 2], 40),
        (vec![3, 4, 8, 9, 3, 4], 40),
        (vec![3, 4, 8, 3, 4, 7, 3, 4], 40),
        // The longest beats the latest; four are enough.
        (vec![1, 2, 3, 4, 50, 3, 4, 60, 1, 2, 3, 4], 40),
        (vec![0, 1, 2, 3, 4, 50, 9, 1, 2, 3, 4, 60, 0, 1, 2, 3, 4], 40),
        // Room for two, one and none.
        (vec![3, 4, 8, 9, 3, 4], 8),
        (vec![3, 4, 8, 9, 3, 4], 7),
        (vec![3, 4, 8, 9, 3, 4], 6),
    ];
    // More ids than threads.
    cases.extend((0..6).map(|seed| (random(seed, 900 + 97 * seed as usize, 6.0), 2000)));
    cases.extend((0..6).map(|seed| (random(seed, 300, 40.0), 302)));
    for (text, context_len) in cases {
        for max_drafts in [3usize, 7] {
            for purpose in [Lookup::Apply, Lookup::Count] {
                let ids = history(&gpu, &text, context_len);
                let (_, progress, n_tokens) = run(&gpu, text.len(), 1, |pass| {
                    lookup(pass, &ids, context_len as u32, max_drafts as u32, purpose);
                });
                let wanted = reference::lookup(&text, max_drafts, context_len);
                let found = text_of(&gpu, &ids, context_len);
                let name = format!("{max_drafts} after the last of {:?}", &text[text.len().saturating_sub(20)..]);
                assert_eq!(found[..text.len()], text, "{name}");
                assert_eq!(found[text.len()..text.len() + wanted.len()], wanted, "{name}");
                assert!(found[text.len() + wanted.len()..].iter().all(|id| *id == JUNK), "{name}: too many");
                assert_eq!((progress.position, progress.n_found), (text.len() - 1, wanted.len()), "{name}");
                assert_eq!(n_tokens, if purpose == Lookup::Apply { 1 + wanted.len() } else { 1 }, "{name}");
            }
        }
    }
}

/// The sampler behind every column of a step, then what is kept of it, against the sampler's twin one token after another.
#[test]
fn drafts_are_accepted_while_they_are_what_would_be_chosen() {
    let Some(gpu) = raw_gpu() else { return };
    let (vocab, context_len) = (333usize, 40usize);
    let warm = SamplingParams { temperature: 0.9, seed: 3, ..SamplingParams::default() };
    let requests = [
        SamplingParams::default(),
        SamplingParams { repeat_penalty: 1.7, repeat_last_n: 5, ..SamplingParams::default() },
        SamplingParams { top_k: 20, top_p: 0.9, min_p: 0.02, repeat_penalty: 1.2, ..warm },
    ];
    let text = [7u32, 8, 9, 7];
    for (i, request) in requests.iter().enumerate() {
        let logits: Vec<f32> = noise(i as u64 + 5, 8 * vocab).iter().map(|v| v * 5.0).collect();
        // What would be chosen token by token, each from the logits of its column.
        let mut chain = text.to_vec();
        for row in logits.chunks(vocab) {
            chain.push(sampling::sample(row, &chain, request).unwrap());
        }
        for (n_drafts, n_right) in [(0, 0), (1, 0), (1, 1), (3, 0), (3, 2), (3, 3), (7, 4), (7, 7)] {
            let mut drafted = chain[..text.len() + n_drafts].to_vec();
            if n_right < n_drafts {
                drafted[text.len() + n_right] ^= 1;
            }
            let ids = history(&gpu, &drafted, context_len);
            let uniform = gpu.uniform("sampling", SAMPLING_BYTES);
            write_sampling(&gpu, &uniform, 0, request);
            let logit_columns = columns(&gpu, 8, vocab as u32, &logits);
            let (_, progress, n_tokens) = run(&gpu, text.len(), 1 + n_drafts, |pass| {
                sample(pass, &uniform, &logit_columns, &ids, context_len as u32);
                accept(pass, &ids, context_len as u32);
            });
            let wanted = reference::accept(&chain[text.len()..=text.len() + n_drafts], &drafted[text.len()..]);
            assert_eq!(wanted.len(), n_right + 1);
            let found = text_of(&gpu, &ids, context_len);
            let name = format!("request {i}, {n_right} of {n_drafts}");
            assert_eq!(found[text.len()..text.len() + wanted.len()], wanted, "{name}");
            let Progress { position, n_drafted, n_accepted, .. } = progress;
            assert_eq!((position, n_drafted, n_accepted), (text.len() + n_right, n_drafts, n_right), "{name}");
            assert_eq!(n_tokens, 1, "{name}");
        }
    }
}

#[test]
fn ids_go_from_history_to_history() {
    let Some(gpu) = raw_gpu() else { return };
    let text = [4u32, 5, 6, 7, 8, 9];
    for n in [1usize, 3] {
        let theirs = history(&gpu, &text, 20);
        let their_state = gpu.uniform("state", STATE_BYTES);
        write_state(&gpu, &their_state, place(1, text.len() - 1), 1);
        let ours = history(&gpu, &text[..text.len() - n], 30);
        let (_, progress, n_tokens) = run(&gpu, 2, 1, |pass| {
            adopt(pass, &History { ids: &theirs, state: &their_state, context_len: 20 }, &ours, 30, n as u32);
        });
        let found = text_of(&gpu, &ours, 30);
        assert_eq!((&found[..text.len()], found[text.len()]), (&text[..], JUNK));
        assert_eq!((progress.position, n_tokens), (text.len() - 1 - n, n + 1));
    }
}

/// The device as it is and, where it has subgroups, as one that has none; products with one column shared out in two ways.
fn gpus() -> Vec<Rc<Gpu>> {
    let without = raw_gpu().filter(|gpu| gpu.caps().subgroups).map(Gpu::without_subgroups);
    let tile = Choices { one_column: OneColumn::Tile16, tile_columns: 4, ..Choices::default() };
    let tiled = raw_gpu().map(|gpu| gpu.with_choices(tile));
    raw_gpu().into_iter().chain(without).chain(tiled).map(Rc::new).collect()
}

fn load(gpu: &Rc<Gpu>, checkpoint: &Checkpoint) -> Session {
    let options = LoadOptions { speculate: Speculate::Lookup, kv_type: KvType::F32, ..LoadOptions::default() };
    block_on(Session::load(gpu, checkpoint, &options, &mut |_| {})).unwrap()
}

fn stories() -> Checkpoint {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    open_bytes("stories.gguf", std::fs::read(models.join("stories.gguf")).unwrap())
}

fn answer(session: &mut Session, prompt: &[u32], options: &GenerateOptions) -> Generation {
    block_on(session.generate(prompt, options, &mut |_| ControlFlow::Continue(()))).unwrap()
}

/// Greedy, greedy with a penalty, and drawn.
fn ways() -> [SamplingParams; 4] {
    let greedy = SamplingParams::default();
    let warm = SamplingParams { temperature: 0.8, top_k: 40, top_p: 0.95, seed: 11, ..greedy };
    [
        greedy,
        SamplingParams { repeat_penalty: 1.15, ..greedy },
        warm,
        SamplingParams { repeat_penalty: 1.1, repeat_last_n: 16, min_p: 0.05, ..warm },
    ]
}

fn options(n: usize, sampling: SamplingParams) -> GenerateOptions {
    GenerateOptions { max_tokens: Some(n), sampling, ignore_end: true, ..GenerateOptions::default() }
}

/// Answers `prompt` with drafts and without, in every way; drafts checked and right over all.
fn check_same(session: &mut Session, name: &str, prompt: &[u32], n: usize) -> (usize, usize) {
    let (mut n_drafted, mut n_accepted) = (0, 0);
    for (i, sampling) in ways().into_iter().enumerate() {
        let wanted = options(n, sampling);
        let plain = GenerateOptions { without_drafts: true, ..wanted.clone() };
        let plain = answer(session, prompt, &plain);
        assert_eq!((plain.timings.drafted_tokens, plain.tokens.len()), (0, n));
        session.forget();
        let drafted = answer(session, prompt, &wanted);
        assert_eq!(drafted.tokens, plain.tokens, "{name}, way {i}");
        assert_eq!((&drafted.text, drafted.finish_reason), (&plain.text, plain.finish_reason));
        n_drafted += drafted.timings.drafted_tokens;
        n_accepted += drafted.timings.accepted_tokens;
        session.forget();
    }
    println!("{name}: {n_accepted} of {n_drafted} drafts were right");
    (n_drafted, n_accepted)
}

/// Tokens that follow each other in a circle in the answers of `looping`.
const CIRCLE: usize = 12;

/// A toy that writes the token after the last one in its circle of `CIRCLE`: the head's row for a token is the embedding of
/// the one before it, and layers add little to the stream.
fn looping() -> Toy {
    let mut toy = Toy::llama();
    let (n_tokens, dim) = (decoder_tokens().len(), DIM as usize);
    let embedding = noise(77, n_tokens * dim);
    let mut head = vec![0.0; n_tokens * dim];
    for (id, row) in embedding.chunks(dim).enumerate() {
        let first = id / CIRCLE * CIRCLE;
        let next = first + (id + 1 - first) % CIRCLE.min(n_tokens - first);
        head[next * dim..][..dim].copy_from_slice(row);
    }
    for (name, weights) in [("token_embd.weight", &embedding), ("output.weight", &head)] {
        toy = toy.weights(name, DType::F32, &[n_tokens as u64, DIM], weights);
    }
    for layer in 0..N_LAYERS {
        for (name, n_cols) in [("attn_output", DIM), ("ffn_down", FFN_DIM)] {
            let weights: Vec<f32> = noise(layer.into(), (DIM * n_cols) as usize).iter().map(|w| w / 100.0).collect();
            toy = toy.weights(&format!("blk.{layer}.{name}.weight"), DType::F32, &[DIM, n_cols], &weights);
        }
    }
    toy
}

/// A begin token and a few letters.
const PROMPT: [u32; 6] = [257, 3, 4, 5, 3, 4];

#[test]
fn answers_with_drafts_equal_answers_without() {
    for gpu in gpus() {
        let mut session = load(&gpu, &stories());
        let echo = "The cat sat on the mat. The dog sat on the rug. The cat sat on the".repeat(3);
        for text in ["Once upon a time", &echo] {
            let prompt = session.raw_prompt(text).unwrap();
            check_same(&mut session, "stories", &prompt, 60);
        }
        check_same(&mut load(&gpu, &Toy::llama().open()), "toy", &PROMPT, 50);
        let (_, n_accepted) = check_same(&mut load(&gpu, &looping().open()), "looping toy", &PROMPT, 50);
        assert!(n_accepted > 20, "{n_accepted} drafts were right");
    }
}

#[test]
fn trained_models_answer_with_drafts_as_without() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let story = "Tom had a red ball. He liked to play with the red ball in the park. Tom had a red ball. He liked to";
    if let Some(folder) = shared("models/stories260K") {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let file = llama2c::to_gguf(&read("stories260K.bin"), &read("tok512.bin"));
        let mut session = load(&gpu, &open_bytes("stories260K.gguf", file));
        let prompt = session.raw_prompt(story).unwrap();
        check_same(&mut session, "stories260K", &prompt, 150);
    }
    if shared("models/TinyStories-656K").is_some() {
        let mut session = load(&gpu, &open_folder("models/TinyStories-656K"));
        let prompt = session.raw_prompt(story).unwrap();
        check_same(&mut session, "TinyStories-656K", &prompt, 150);
    }
}

/// To the last position of a context with parts of attention to merge; no token is missing, none is too many.
#[test]
fn drafts_stop_where_the_context_and_the_answer_end() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let context = split_len(&gpu.choices()) as usize + 40;
    let mut session = load(&gpu, &looping().uint("llama.context_length", context as u32).open());
    let endless = GenerateOptions { ignore_end: true, ..GenerateOptions::default() };
    let drafted = answer(&mut session, &PROMPT, &endless);
    assert_eq!((drafted.tokens.len(), drafted.finish_reason), (context - PROMPT.len(), FinishReason::Length));
    assert!(drafted.timings.accepted_tokens > context / 2, "{:?}", drafted.timings);
    assert!(drafted.timings.read_backs_per_token < 0.7, "{:?}", drafted.timings);
    session.forget();
    let plain = answer(&mut session, &PROMPT, &GenerateOptions { without_drafts: true, ..endless });
    assert_eq!(drafted.tokens, plain.tokens);
    for n in 1..15 {
        assert_eq!(answer(&mut session, &PROMPT, &options(n, ways()[0])).tokens, plain.tokens[..n]);
    }
}

/// However a column's sums are shared out, those of several are added up in the same order.
#[test]
fn loading_to_speculate_changes_no_answer() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let options_of_load = LoadOptions { kv_type: KvType::F32, ..LoadOptions::default() };
    let mut never = block_on(Session::load(&gpu, &stories(), &options_of_load, &mut |_| {})).unwrap();
    let mut session = load(&gpu, &stories());
    let prompt = session.raw_prompt("Once there was a big dog").unwrap();
    for way in ways() {
        assert_eq!(
            answer(&mut session, &prompt, &options(40, way)).tokens,
            answer(&mut never, &prompt, &options(40, way)).tokens
        );
    }
}

/// The text that ends the answer stands in the prompt, so that it is drafted; so does what follows it.
#[test]
fn an_answer_ends_amid_right_drafts() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, &looping().open());
    let greedy = ways()[0];
    let loop_of = answer(&mut session, &PROMPT, &options(50, greedy)).tokens;
    let prompt = [&PROMPT[..], &loop_of[..36]].concat();
    let n_accepted = |session: &mut Session, request: &GenerateOptions| {
        let plain = GenerateOptions { without_drafts: true, ..request.clone() };
        let plain = answer(session, &prompt, &plain);
        let drafted = answer(session, &prompt, request);
        assert_eq!((&drafted.tokens, &drafted.text), (&plain.tokens, &plain.text));
        assert_eq!((drafted.finish_reason, plain.finish_reason), (FinishReason::Stop, FinishReason::Stop));
        drafted.timings.accepted_tokens
    };
    let mut n = 0;
    for at in 1..12 {
        let stop = session.tokenizer().decode(&loop_of[36 + at - 1..=36 + at]);
        n += n_accepted(&mut session, &GenerateOptions { stop: vec![stop], ..options(20, greedy) });
    }
    assert!(n > 20, "{n} drafts were right");
    for at in 3..7 {
        let mut session = load(&gpu, &looping().uint("tokenizer.ggml.eos_token_id", loop_of[36 + at]).open());
        let request = GenerateOptions { ignore_end: false, ..options(20, greedy) };
        n_accepted(&mut session, &request);
    }
}

#[test]
fn a_conversation_goes_on_after_drafts() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    for drafts_itself in [false, true] {
        let mut session = load(&gpu, &looping().open());
        if drafts_itself {
            draft_with(&mut session, &looping().open()).unwrap();
        }
        let greedy = options(20, ways()[0]);
        let first = answer(&mut session, &PROMPT, &greedy);
        assert!(first.timings.accepted_tokens > 0);
        // The answer and a new turn; part of the answer and another turn; what came from plain steps in between.
        for (n, without_drafts) in [(20, false), (11, false), (20, true), (15, false)] {
            let prompt = [&PROMPT[..], &first.tokens[..n], &[7, 8, 9]].concat();
            let again = answer(&mut session, &prompt, &GenerateOptions { without_drafts, ..greedy.clone() });
            let mut fresh = load(&gpu, &looping().open());
            let fresh = answer(&mut fresh, &prompt, &GenerateOptions { without_drafts: true, ..greedy.clone() });
            assert_eq!(again.tokens, fresh.tokens, "{n} tokens kept");
        }
        // A cancelled answer leaves nothing wrong behind.
        let cancel = Cancel::default();
        let request = GenerateOptions { cancel: cancel.clone(), ..greedy.clone() };
        let mut n_pieces = 0;
        let cancelled = block_on(session.generate(&PROMPT, &request, &mut |_| {
            n_pieces += 1;
            if n_pieces == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }));
        assert_eq!(cancelled.unwrap().finish_reason, FinishReason::Cancelled);
        assert_eq!(answer(&mut session, &PROMPT, &greedy).tokens, first.tokens);
    }
}

fn draft_with(session: &mut Session, checkpoint: &Checkpoint) -> trice::Result<()> {
    let options = LoadOptions { kv_type: KvType::F32, ..LoadOptions::default() };
    block_on(session.draft_with(checkpoint, &options, &mut |_| {}))
}

#[test]
fn a_model_drafts_for_itself_without_a_miss() {
    for gpu in gpus() {
        let mut session = load(&gpu, &stories());
        draft_with(&mut session, &stories()).unwrap();
        let prompt = session.raw_prompt("Once upon a time").unwrap();
        let (n_drafted, n_accepted) = check_same(&mut session, "stories for itself", &prompt, 61);
        assert!(n_drafted > 100 && n_drafted == n_accepted, "{n_accepted} of {n_drafted}");
    }
}

#[test]
fn a_model_that_drafts_badly_changes_nothing() {
    // The same model but for one matrix, which is a fifth smaller.
    let (down, target) = ("blk.1.ffn_down.weight", Toy::llama());
    let weights: Vec<f32> = bytemuck::pod_collect_to_vec(&target.tensors[down].2);
    let weights: Vec<f32> = weights.iter().map(|w| w * 0.8).collect();
    let drafter = target.weights(down, DType::F32, &[DIM, FFN_DIM], &weights);
    for gpu in gpus() {
        let mut session = load(&gpu, &Toy::llama().open());
        draft_with(&mut session, &drafter.open()).unwrap();
        let (n_drafted, n_accepted) = check_same(&mut session, "another toy", &PROMPT, 57);
        assert!(0 < n_accepted && n_accepted < n_drafted, "{n_accepted} of {n_drafted}");
    }
}

#[test]
fn drafters_that_do_not_fit_are_refused() {
    let Some(gpu) = raw_gpu().map(Rc::new) else { return };
    let mut session = load(&gpu, &Toy::llama().open());
    let mut refused = |checkpoint: &Checkpoint| draft_with(&mut session, checkpoint).unwrap_err().to_string();
    assert!(refused(&stories()).contains("cannot draft for toy.gguf: it has"), "{}", refused(&stories()));
    let mut tokens = decoder_tokens();
    tokens.swap(64, 65);
    let swapped = Toy::llama().set("tokenizer.ggml.tokens", Meta::Texts(tokens)).open();
    assert!(refused(&swapped).contains("token 64 is"), "{}", refused(&swapped));
    let short = Toy::llama().uint("llama.context_length", 32).open();
    assert!(refused(&short).contains("tokens of context"), "{}", refused(&short));
    // A session that does not speculate has no use for one, and several answers at once none for drafts.
    let mut plain = block_on(Session::load(&gpu, &Toy::llama().open(), &LoadOptions::default(), &mut |_| {})).unwrap();
    assert!(matches!(draft_with(&mut plain, &Toy::llama().open()), Err(Error::Invalid { .. })));
    let options = LoadOptions { speculate: Speculate::Lookup, parallel: Some(2), ..LoadOptions::default() };
    let outcome = block_on(Session::load(&gpu, &Toy::llama().open(), &options, &mut |_| {}));
    assert!(matches!(outcome.err(), Some(Error::Unsupported { .. })));
}
